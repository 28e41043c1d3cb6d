//! Resolved settings. (stand-in)
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver { Auto, IoUring, Epoll }
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address { Tcp(SocketAddr), Unix(PathBuf) }
impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self { Address::Tcp(a) => write!(f, "{a}"), Address::Unix(p) => write!(f, "unix:{}", p.display()) }
    }
}
#[derive(Clone, Debug)]
pub struct IpNet(pub IpAddr);
impl IpNet { pub fn contains(&self, ip: IpAddr) -> bool { self.0 == ip } }
#[derive(Clone, Debug)]
pub struct Ingress { pub listen: Address, pub trusted_proxies: Vec<IpNet>, pub cors: bool }
#[derive(Clone, Debug)]
pub struct Limits { pub requests_per_window: u32, pub window_seconds: u32, pub concurrency: u32, pub payload_bytes: u32, pub reply_timeout_seconds: u32, pub connections: u32, pub body_bytes_per_core: usize }
#[derive(Clone, Debug)]
pub struct Settings { pub data: PathBuf, pub cores: usize, pub ingress: Ingress, pub admin: Admin, pub access_token: Option<Secret>, pub limits: Limits, pub driver: Driver }
#[derive(Clone, Debug)]
pub struct Admin { pub listen: Address, pub hosts: Vec<String>, pub open_metrics: bool }
#[derive(Clone)]
pub struct Secret(pub String);
impl Secret { pub fn expose(&self) -> &str { &self.0 } }
impl std::fmt::Debug for Secret { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("***") } }
