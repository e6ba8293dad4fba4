"""
A watch over the machine it runs on: the demo of kinesis.

``readings`` are the values; ``sampling``, ``analysis``, ``alerts`` and
``recorder`` the components that make and keep them; ``screen`` shows them, with
``picture`` and ``terminal``.
"""
