//! Commands beside and within each other, and rollbacks in every order.
