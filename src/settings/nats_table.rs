//! The settings of NATS, and of clusters on it.

use super::entry::{Entry, entry};
use super::nats::check_cluster_name;
use super::values::{list, within};

/// Copies of a stream that JetStream allows.
const REPLICAS_MAX: usize = 5;
/// The longest wait for a trigger to be stored: callers do not wait longer.
const ACK_SECONDS_MAX: u32 = 300;
/// Streams of a journal: more than servers of NATS are of no use.
const SHARDS_MAX: usize = 64;

/// In the order of the guide's table.
pub(super) const ENTRIES: [Entry; 17] = [
    entry!(
        "nats.url",
        "TIDEGATE_NATS_URL",
        Some("nats-url"),
        "none",
        "Servers that NatsNode publishes to, with commas: nats://user:password@host:4222 or tls://…, percent-encoded",
        |s, v| {
            s.nats.urls = list(v).map(str::parse).collect::<Result<_, _>>()?;
            Ok(())
        }
    ),
    entry!(
        "nats.credentials",
        "TIDEGATE_NATS_CREDENTIALS",
        None,
        "none",
        "File of a JWT and its key (.creds) that NATS is logged in to with",
        |s, v| {
            s.nats.credentials = Some(v.into());
            Ok(())
        }
    ),
    entry!("nats.nkey", "TIDEGATE_NATS_NKEY", None, "none", "File of the seed of an NKey", |s, v| {
        s.nats.nkey = Some(v.into());
        Ok(())
    }),
    entry!(
        "nats.tls.ca",
        "TIDEGATE_NATS_TLS_CA",
        None,
        "the system's roots",
        "PEM file of the roots of the servers' certificates; with it or a certificate, TLS is required",
        |s, v| {
            s.nats.tls.ca = Some(v.into());
            Ok(())
        }
    ),
    entry!(
        "nats.tls.certificate",
        "TIDEGATE_NATS_TLS_CERTIFICATE",
        None,
        "none",
        "PEM file of this client's certificate",
        |s, v| {
            s.nats.tls.certificate = Some(v.into());
            Ok(())
        }
    ),
    entry!("nats.tls.key", "TIDEGATE_NATS_TLS_KEY", None, "none", "PEM file of its key", |s, v| {
        s.nats.tls.key = Some(v.into());
        Ok(())
    }),
    entry!(
        "cluster.nats",
        "TIDEGATE_CLUSTER_NATS",
        Some("nats"),
        "none",
        "Servers of NATS, written as nats.url, that this node is one of a cluster on",
        |s, v| {
            s.cluster.nats.urls = list(v).map(str::parse).collect::<Result<_, _>>()?;
            Ok(())
        }
    ),
    entry!(
        "cluster.name",
        "TIDEGATE_CLUSTER_NAME",
        Some("cluster"),
        "tidegate",
        "Name of the cluster: what its streams and subjects begin with; alone, the cluster is on nats.url",
        |s, v| {
            check_cluster_name(v)?;
            s.cluster.name = Some(v.to_owned());
            Ok(())
        }
    ),
    entry!(
        "cluster.replicas",
        "TIDEGATE_CLUSTER_REPLICAS",
        None,
        "0",
        "Copies of each stream; 0: three where NATS is a cluster, else one",
        |s, v| {
            s.cluster.replicas = within(v, 0, REPLICAS_MAX)?;
            Ok(())
        }
    ),
    entry!(
        "cluster.ack_timeout",
        "TIDEGATE_CLUSTER_ACK_TIMEOUT",
        None,
        "10",
        "How long a call waits until its trigger is stored, before it is told 503 (seconds); an election takes 4 to 9",
        |s, v| {
            s.cluster.ack_timeout = within(v, 1, ACK_SECONDS_MAX)?;
            Ok(())
        }
    ),
    entry!(
        "cluster.shards",
        "TIDEGATE_CLUSTER_SHARDS",
        None,
        "1",
        "Streams of the journal, the same on every node; more is set while nothing is open",
        |s, v| {
            s.cluster.shards = within(v, 1, SHARDS_MAX)?;
            Ok(())
        }
    ),
    entry!(
        "cluster.monitor",
        "TIDEGATE_CLUSTER_MONITOR",
        None,
        "none",
        "Monitoring ports of all its servers, with commas: http://host:8222; looks whether they sync what they ack",
        |s, v| {
            s.cluster.monitor = list(v).map(str::parse).collect::<Result<_, _>>()?;
            Ok(())
        }
    ),
    entry!(
        "cluster.credentials",
        "TIDEGATE_CLUSTER_CREDENTIALS",
        None,
        "none",
        "File of a JWT and its key (.creds) for the cluster's servers",
        |s, v| {
            s.cluster.nats.credentials = Some(v.into());
            Ok(())
        }
    ),
    entry!(
        "cluster.nkey",
        "TIDEGATE_CLUSTER_NKEY",
        None,
        "none",
        "File of the seed of an NKey for them",
        |s, v| {
            s.cluster.nats.nkey = Some(v.into());
            Ok(())
        }
    ),
    entry!(
        "cluster.tls.ca",
        "TIDEGATE_CLUSTER_TLS_CA",
        None,
        "the system's roots",
        "PEM file of the roots of their certificates; with it or a certificate, TLS is required",
        |s, v| {
            s.cluster.nats.tls.ca = Some(v.into());
            Ok(())
        }
    ),
    entry!(
        "cluster.tls.certificate",
        "TIDEGATE_CLUSTER_TLS_CERTIFICATE",
        None,
        "none",
        "PEM file of this client's certificate for them",
        |s, v| {
            s.cluster.nats.tls.certificate = Some(v.into());
            Ok(())
        }
    ),
    entry!("cluster.tls.key", "TIDEGATE_CLUSTER_TLS_KEY", None, "none", "PEM file of its key", |s, v| {
        s.cluster.nats.tls.key = Some(v.into());
        Ok(())
    }),
];
