"""What components say to one another, and what others say to them."""
