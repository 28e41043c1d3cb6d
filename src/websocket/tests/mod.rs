//! How the machine behaves, told from both ends.
