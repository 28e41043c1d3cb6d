//! Layer 0: types and functions that every other module uses. No word of webhooks or HTTP here.

pub mod block;
pub mod buffer;
pub mod clock;
pub mod id;
pub(crate) mod ip_net;
pub mod json;
pub(crate) mod log;
pub(crate) mod number;
pub mod random;
pub mod request_id;
pub mod sleep_flag;
pub mod slots;
pub mod steps;
pub mod sync;
pub mod text;
pub(crate) mod trace;
pub mod turn;
pub(crate) mod visible;
pub mod wheel;
