//! Layer 0: types and functions that every other module uses. No word of webhooks or HTTP here.

pub mod block;
pub mod buffer;
pub mod clock;
pub mod id;
pub mod ip_net;
pub mod json;
pub mod log;
pub mod number;
pub mod random;
pub mod request_id;
pub mod sleep_flag;
pub mod slots;
pub mod steps;
pub mod sync;
pub mod text;
pub mod trace;
pub mod turn;
pub mod visible;
pub mod wheel;
