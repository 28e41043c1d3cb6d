//! Floor 9: the command line. (stand-in)
mod demo;
mod gateway;
pub mod serve;
