//! Stores that are copies of one model.

use std::sync::Weak;

use super::*;
use crate::model::{AccessToken, FlowVersion};

/// A model that stores share: every write so far, in its order.
#[derive(Default)]
struct Shared {
    log: Mutex<Vec<RecordChange>>,
    /// Refuses the next writes with this.
    refusal: Mutex<Option<NotReplicated>>,
}

/// The model as one store reaches it.
struct Copy {
    shared: Arc<Shared>,
    store: Weak<Store>,
}

impl Copy {
    /// Applies what the store has not applied.
    fn catch_up(&self) {
        let store = self.store.upgrade().expect("it lives");
        let revision = store.origin().expect("reads").map_or(0, |origin| origin.revision);
        let log = self.shared.log.lock().expect("not poisoned").clone();
        for (at, record) in log.iter().enumerate().skip(usize::try_from(revision).expect("short")) {
            let origin = ChangeOrigin { number: 7, revision: at as u64 + 1 };
            store.apply(origin, std::slice::from_ref(record)).expect("applies");
        }
    }
}

impl Replica for Copy {
    fn write(&self, revision: u64, records: &[RecordChange]) -> Result<(), NotReplicated> {
        if let Some(refusal) = self.shared.refusal.lock().expect("not poisoned").take() {
            return Err(refusal);
        }
        let is_current = {
            let mut log = self.shared.log.lock().expect("not poisoned");
            let is_current = log.len() as u64 == revision;
            if is_current {
                log.extend_from_slice(records);
            }
            is_current
        };
        self.catch_up();
        if is_current { Ok(()) } else { Err(NotReplicated::Conflict) }
    }
}

struct Node {
    store: Arc<Store>,
    copy: Arc<Copy>,
    _folder: TempDir,
}

fn node(shared: &Arc<Shared>) -> Node {
    let folder = folder();
    let store = Arc::new(Store::open(folder.path()).expect("opens"));
    let copy = Arc::new(Copy { shared: Arc::clone(shared), store: Arc::downgrade(&store) });
    store.replicate(Arc::clone(&copy) as Arc<dyn Replica>);
    Node { store, copy, _folder: folder }
}

fn records(store: &Store) -> Vec<(RecordKind, Id, Vec<u8>)> {
    let mut all = Vec::new();
    store.for_each_record(&mut |kind, id, bytes| all.push((kind, id, bytes.to_vec()))).expect("reads");
    all
}

#[test]
fn what_one_node_writes_every_other_one_gets_with_its_lists_and_indexes() {
    let shared = Arc::new(Shared::default());
    let (one, two) = (node(&shared), node(&shared));
    let app = application(&one.store, "shop");
    let hook = webhook(&one.store, app.id, "orders", 0);
    let kept = flow(&one.store, app.id, "answer", &[hook.id]).value;
    let version = FlowVersion::create(&json!({"version": "v1"}), &kept, START).expect("valid");
    let version_id = version.id;
    one.store.change(move |changes| changes.insert_flow_version(version.clone(), false)).expect("kept");
    one.store
        .update_flow(app.id, kept.id, move |flow| {
            flow.default_version_id = Some(version_id);
            Ok(())
        })
        .expect("runs the version");
    let token =
        AccessToken::create(&json!({"name": "ci", "rights": ["read"]}), [7; 32], START).expect("valid");
    one.store.insert_access_token(token).expect("kept");
    two.copy.catch_up();
    assert_eq!(records(&one.store), records(&two.store));
    assert_eq!(records(&two.store).len(), 5);
    assert_eq!(two.store.webhooks(&app.id, &query(0, 10)).expect("lists").total, 1);
    assert_eq!(two.store.flows_of_webhook(&hook.id), one.store.flows_of_webhook(&hook.id));
    assert_eq!(two.store.flow_versions(&kept.id, &query(0, 10)).expect("lists").total, 1);
    two.store.delete_webhook(app.id, hook.id, true).expect("deletes");
    two.store.delete_application(app.id).expect("deletes");
    one.copy.catch_up();
    assert_eq!(records(&one.store), records(&two.store));
    assert_eq!(records(&one.store).len(), 1, "the access token alone");
    assert_eq!(one.store.applications(&query(0, 10)).expect("lists").total, 0);
}

#[test]
fn changes_of_two_nodes_never_lose_one_another_and_their_checks_hold_for_both() {
    let shared = Arc::new(Shared::default());
    let (one, two) = (node(&shared), node(&shared));
    let app = application(&one.store, "shop");
    let hook = webhook(&one.store, app.id, "orders", 0);
    // The second node has seen nothing of that yet: its change is made again on what it finds then.
    let described = two.store.update_application(app.id, |application| {
        application.description = "described".to_owned();
        Ok(())
    });
    assert_eq!(described.map(drop), Err(ChangeError::Missing(Resource::Application)), "it is behind");
    two.copy.catch_up();
    one.store
        .update_webhook(app.id, hook.id, |webhook| {
            webhook.name = "renamed".to_owned();
            Ok(())
        })
        .expect("renamed");
    two.store
        .update_webhook(app.id, hook.id, |webhook| {
            webhook.description = "described".to_owned();
            Ok(())
        })
        .expect("described");
    one.copy.catch_up();
    for node in [&one, &two] {
        let found = node.store.webhook(&hook.id).expect("reads").expect("is there");
        assert_eq!((found.name.as_str(), found.description.as_str()), ("renamed", "described"));
    }
    // A token that another node has given away meanwhile.
    let mut twin = Webhook::create(&json!({"name": "twin"}), app.id, START).expect("valid");
    twin.token.clone_from(&hook.token);
    assert_eq!(two.store.insert_webhook(twin).map(drop), Err(ChangeError::Conflict(Resource::Webhook)));
    // An application that another node has deleted meanwhile.
    one.store.delete_application(app.id).expect("deletes");
    let late = Webhook::create(&json!({"name": "late"}), app.id, START).expect("valid");
    assert_eq!(two.store.insert_webhook(late).map(drop), Err(ChangeError::Missing(Resource::Application)));
    assert!(records(&two.store).is_empty());
}

#[test]
fn a_change_that_the_shared_model_does_not_take_leaves_nothing() {
    let shared = Arc::new(Shared::default());
    let one = node(&shared);
    let app = application(&one.store, "shop");
    let before = records(&one.store);
    *shared.refusal.lock().expect("not poisoned") = Some(NotReplicated::Unavailable("no answer".to_owned()));
    let created = Webhook::create(&json!({"name": "orders"}), app.id, START).expect("valid");
    let refused = one.store.insert_webhook(created.clone()).map(drop);
    assert_eq!(refused, Err(ChangeError::Store(StoreError::Unavailable { why: "no answer".to_owned() })));
    assert_eq!(records(&one.store), before);
    one.store.insert_webhook(created).expect("kept once it is reached again");
}

#[test]
fn observers_hear_of_other_nodes_changes_and_what_is_gone_is_dropped_from_a_copy() {
    let shared = Arc::new(Shared::default());
    let (one, two) = (node(&shared), node(&shared));
    let told: Arc<Mutex<Vec<Affected>>> = Arc::default();
    let heard = Arc::clone(&told);
    two.store.observe(Box::new(move |_, affected| {
        heard.lock().expect("not poisoned").push(affected.clone());
        Ok(())
    }));
    let app = application(&one.store, "shop");
    let hooks = [webhook(&one.store, app.id, "a", 0), webhook(&one.store, app.id, "b", 1)];
    let token =
        AccessToken::create(&json!({"name": "ci", "rights": ["read"]}), [7; 32], START).expect("valid");
    one.store.insert_access_token(token).expect("kept");
    two.copy.catch_up();
    let told = std::mem::take(&mut *told.lock().expect("not poisoned"));
    assert_eq!(told.iter().flat_map(|told| &told.webhooks).count(), 2);
    assert!(told.iter().any(|told| told.access_tokens));
    // A copy that was made from the beginning keeps what it saw alone.
    let kept = HashSet::from([(RecordKind::Application, app.id), (RecordKind::Webhook, hooks[1].id)]);
    two.store.retain(ChangeOrigin { number: 8, revision: 40 }, &kept).expect("drops");
    assert_eq!(records(&two.store).len(), 2);
    assert_eq!(two.store.webhook(&hooks[0].id), Ok(None));
    assert_eq!(two.store.origin(), Ok(Some(ChangeOrigin { number: 8, revision: 40 })));
}
