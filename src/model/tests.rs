//! What each resource takes, refuses and shows.
