//! Names of streams, buckets and subjects, made of the cluster's name.

use super::membership::Incarnation;

/// The names of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    prefix: String,
}

impl Names {
    /// The names of a cluster called so (`cluster.name`: lower-case letters, digits and hyphens).
    #[must_use]
    pub fn new(cluster: &str) -> Names {
        Names { prefix: cluster.to_owned() }
    }

    /// The bucket of the model.
    #[must_use]
    pub fn model_bucket(&self) -> String {
        format!("{}_model", self.prefix)
    }

    /// The bucket of the nodes.
    #[must_use]
    pub fn nodes_bucket(&self) -> String {
        format!("{}_nodes", self.prefix)
    }

    /// The stream behind a bucket.
    #[must_use]
    pub fn stream_of(bucket: &str) -> String {
        format!("KV_{bucket}")
    }

    /// The subject of a key of a bucket.
    #[must_use]
    pub fn key(bucket: &str, key: &str) -> String {
        format!("$KV.{bucket}.{key}")
    }

    /// The stream of the rates.
    #[must_use]
    pub fn limit_stream(&self) -> String {
        format!("{}_limit", self.prefix)
    }

    /// The subject of a block of a webhook's rate, or of all with `*`.
    #[must_use]
    pub fn limit(&self, webhook: &str, block: &str) -> String {
        format!("{}.l.{webhook}.{block}", self.prefix)
    }

    /// The subject of a block of a webhook's places, or of all with `*`.
    #[must_use]
    pub fn places(&self, webhook: &str, block: &str) -> String {
        format!("{}.p.{webhook}.{block}", self.prefix)
    }

    /// The stream of the keys of calls.
    #[must_use]
    pub fn keys_stream(&self) -> String {
        format!("{}_keys", self.prefix)
    }

    /// The subject of a key of a webhook's calls, or of all with `*`.
    #[must_use]
    pub fn key_of_call(&self, webhook: &str, key: &str) -> String {
        format!("{}.k.{webhook}.{key}", self.prefix)
    }

    /// Replies to callers of an incarnation.
    #[must_use]
    pub fn reply(&self, inc: Incarnation) -> String {
        format!("{}.n.{inc}.reply", self.prefix)
    }

    /// Messages to an incarnation about workers.
    #[must_use]
    pub fn work(&self, inc: Incarnation) -> String {
        format!("{}.n.{inc}.work", self.prefix)
    }

    /// Requests of the REST API that are passed to an incarnation.
    #[must_use]
    pub fn api(&self, inc: Incarnation) -> String {
        format!("{}.n.{inc}.api", self.prefix)
    }

    /// One answer to such a request of an incarnation.
    #[must_use]
    pub fn answer(&self, inc: Incarnation, number: u64) -> String {
        format!("{}.n.{inc}.answer.{number:016x}", self.prefix)
    }

    /// Messages to all nodes about workers.
    #[must_use]
    pub fn work_of_all(&self) -> String {
        format!("{}.work", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_begin_with_the_clusters() {
        let names = Names::new("tg-1");
        let inc = Incarnation::from_raw([1; 12]);
        assert_eq!(Names::stream_of(&names.model_bucket()), "KV_tg-1_model");
        assert_eq!(Names::key(&names.model_bucket(), "app.a"), "$KV.tg-1_model.app.a");
        assert_eq!(names.reply(inc), "tg-1.n.010101010101010101010101.reply");
        assert_eq!(names.limit("w", "*"), "tg-1.l.w.*");
    }
}
