"""What the class Store is made of."""
