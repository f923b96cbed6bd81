"""Programs of users, for type checkers alone: `make lint` checks them, and nothing runs them."""
