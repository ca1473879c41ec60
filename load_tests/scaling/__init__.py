"""What a payment costs the database as it grows, and what that comes to on so many machines."""
