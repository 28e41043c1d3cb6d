//! The addresses of targets' names. A name that many wait for is looked up once: the system's resolver holds a thread for
//! each lookup, and a name server that does not answer must not take them all.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// How long what a lookup found is taken for granted. Connections are kept, so that there are few lookups; this is for a
/// target that is down and tried by many.
const KEPT: Duration = Duration::from_secs(1);

/// Outcome of a lookup: at least one address, or why there is none.
type LookupResult = Result<Arc<[IpAddr]>, Arc<str>>;
type PendingLookup = watch::Receiver<Option<LookupResult>>;

/// Looks names up.
#[derive(Clone, Debug, Default)]
pub(super) struct Resolver {
    lookups: Arc<Mutex<HashMap<Box<str>, PendingLookup>>>,
}

impl Resolver {
    /// The addresses of a name, or of an address in text.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn resolve(&self, host: &str) -> LookupResult {
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(Arc::from([ip]));
        }
        let mut lookup = self.lookup(host);
        match lookup.wait_for(Option::is_some).await {
            Ok(found) => found.clone().unwrap_or_else(|| Err("the lookup was ended".into())),
            Err(_) => Err("the lookup was ended".into()),
        }
    }

    /// The lookup of a name that is under way, or a new one.
    fn lookup(&self, host: &str) -> PendingLookup {
        let mut lookups = self.lookups.lock().unwrap_or_else(PoisonError::into_inner);
        // One whose task has panicked finds nothing any more.
        if let Some(known) =
            lookups.get(host).filter(|known| known.has_changed().is_ok() || known.borrow().is_some())
        {
            return known.clone();
        }
        let (found, lookup) = watch::channel(None);
        lookups.insert(host.into(), lookup.clone());
        let (all, host) = (Arc::clone(&self.lookups), Box::<str>::from(host));
        tokio::spawn(async move {
            // The port is of no use; it makes a socket address of a name.
            let addresses = tokio::net::lookup_host((&*host, 0)).await;
            let addresses =
                addresses.map(|found| found.map(|address| address.ip()).collect::<Arc<[IpAddr]>>());
            let outcome = match addresses {
                Ok(addresses) if addresses.is_empty() => Err("it has none".into()),
                Ok(addresses) => Ok(addresses),
                Err(error) => Err(error.to_string().into()),
            };
            found.send_replace(Some(outcome));
            tokio::time::sleep(KEPT).await;
            all.lock().unwrap_or_else(PoisonError::into_inner).remove(&host);
        });
        lookup
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<T>(test: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
    }

    #[test]
    fn addresses_in_text_need_no_lookup_and_a_name_is_looked_up_once() {
        run(async {
            let resolver = Resolver::default();
            assert_eq!(
                &*resolver.resolve("127.0.0.1").await.unwrap(),
                ["127.0.0.1".parse::<IpAddr>().unwrap()]
            );
            assert_eq!(&*resolver.resolve("[::1]").await.unwrap(), ["::1".parse::<IpAddr>().unwrap()]);
            assert!(resolver.lookups.lock().unwrap().is_empty());
            let (one, other) = tokio::join!(resolver.resolve("localhost"), resolver.resolve("localhost"));
            assert!(one.unwrap().iter().all(IpAddr::is_loopback));
            assert!(other.is_ok());
            assert_eq!(resolver.lookups.lock().unwrap().len(), 1);
        });
    }

    #[test]
    fn a_name_without_addresses_says_so() {
        run(async {
            let found = Resolver::default().resolve("no-such-name.invalid").await;
            assert!(found.is_err(), "{found:?}");
        });
    }
}
