"""What others see of a component's state, and how they change it."""
