//! Reopening, sharing, lists, damage.

mod letters;
mod replica;
mod versions;

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

const START: u64 = 1_790_000_000_000;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn application(store: &Store, name: &str) -> Application {
    let application = Application::create(&json!({"name": name}), START).expect("valid");
    store.insert_application(application).expect("kept").value
}

fn webhook(store: &Store, application: Id, name: &str, at: u64) -> Webhook {
    let webhook = Webhook::create(&json!({"name": name}), application, START + at).expect("valid");
    store.insert_webhook(webhook).expect("kept").value
}

fn flow(store: &Store, application: Id, name: &str, keys: &[Id]) -> Changed<Flow> {
    let triggers: Vec<Value> =
        keys.iter().map(|key| json!({"type": "webhook", "key": key.to_string()})).collect();
    let flow = Flow::create(&json!({"name": name, "triggers": triggers}), application, START).expect("valid");
    store.insert_flow(flow).expect("kept")
}

fn query(page: u64, per_page: u64) -> ListQuery {
    ListQuery { page, per_page, ..ListQuery::default() }
}

fn names(listed: &Listed<Webhook>) -> Vec<&str> {
    listed.items.iter().map(|webhook| webhook.name.as_str()).collect()
}

#[test]
fn what_was_written_is_there_after_opening_again() {
    let folder = folder();
    let (app, hook, kept_flow) = {
        let store = Store::open(folder.path()).expect("opens");
        assert!(store.folder().is_new());
        let app = application(&store, "shop");
        let hook = webhook(&store, app.id, "orders", 0);
        let kept_flow = flow(&store, app.id, "answer", &[hook.id]).value;
        (app, hook, kept_flow)
    };
    let store = Store::open(folder.path()).expect("opens again");
    assert!(!store.folder().is_new());
    assert_eq!(store.application(&app.id), Ok(Some(app)));
    assert_eq!(store.webhook(&hook.id), Ok(Some(hook.clone())));
    assert_eq!(store.flow(&kept_flow.id), Ok(Some(kept_flow.clone())));
    assert_eq!(store.flows_of_webhook(&hook.id), Ok(vec![kept_flow]));
}

#[test]
fn a_copy_of_the_file_taken_at_any_moment_opens_with_what_was_answered() {
    let (original, copy) = (folder(), folder());
    let store = Store::open(original.path()).expect("opens");
    let app = application(&store, "shop");
    for count in 1..=5 {
        webhook(&store, app.id, "hook", count);
        // As a crash would leave it: no closing, no clean mark.
        fs::copy(original.path().join(MODEL_FILE), copy.path().join(MODEL_FILE)).expect("copies");
        let crashed = Store::open(copy.path()).expect("recovers");
        assert_eq!(crashed.webhooks(&app.id, &query(0, 100)).expect("lists").total, count);
    }
}

#[test]
fn a_second_opener_is_told_who_holds_the_folder() {
    let folder = folder();
    let held = Store::open(folder.path()).expect("opens");
    let refused = Store::open(folder.path()).err().expect("refused");
    assert_eq!(
        refused,
        StoreError::Locked { path: folder.path().to_owned(), process: Some(std::process::id()) }
    );
    assert!(refused.to_string().contains("in use by process"), "{refused}");
    drop(held);
    Store::open(folder.path()).expect("opens once it is let go");
}

#[test]
fn a_missing_folder_is_made_for_its_owner_alone() {
    let parent = folder();
    let path = parent.path().join("a/b");
    let _store = Store::open(&path).expect("opens");
    assert_eq!(fs::metadata(&path).expect("made").mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(path.join(MODEL_FILE)).expect("made").mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(path.join("lock")).expect("made").mode() & 0o777, 0o600);
}

#[test]
fn a_file_in_place_of_the_folder_is_refused() {
    let parent = folder();
    let path = parent.path().join("data");
    fs::write(&path, "x").expect("writes");
    assert_eq!(Store::open(&path).err(), Some(StoreError::NotAFolder(path.clone())));
    assert_eq!(Store::open(&path.join("below")).err(), Some(StoreError::NotAFolder(path.join("below"))));
}

#[test]
fn a_damaged_database_is_refused_and_left_as_it_is() {
    let folder = folder();
    let path = folder.path().join(MODEL_FILE);
    {
        let store = Store::open(folder.path()).expect("opens");
        let app = application(&store, "shop");
        webhook(&store, app.id, "hook", 0);
    }
    let whole = fs::read(&path).expect("reads");
    let half = whole[..whole.len() / 2].to_vec();
    let mut scribbled = whole.clone();
    scribbled[..4096].fill(0xA5);
    for damage in [Vec::new(), b"not a database".to_vec(), vec![0; whole.len()], half, scribbled] {
        fs::write(&path, &damage).expect("writes");
        let refused = Store::open(folder.path()).err();
        assert!(matches!(refused, Some(StoreError::Damaged { .. })), "{} bytes: {refused:?}", damage.len());
        assert_eq!(fs::read(&path).expect("reads").len(), damage.len());
    }
}

#[test]
fn a_start_that_broke_off_before_the_database_was_whole_is_begun_again() {
    let folder = folder();
    fs::write(folder.path().join("model.new"), "half a database").expect("writes");
    let store = Store::open(folder.path()).expect("opens");
    application(&store, "shop");
}

#[test]
fn changes_of_many_threads_lose_none_of_one_another() {
    let folder = folder();
    let store = Arc::new(Store::open(folder.path()).expect("opens"));
    let told: Arc<Mutex<HashSet<Id>>> = Arc::default();
    let seen = Arc::clone(&told);
    store.observe(Box::new(move |store, affected| {
        for id in &affected.webhooks {
            assert!(store.webhook(id).expect("reads").is_some(), "told after the commit");
        }
        seen.lock().expect("not poisoned").extend(&affected.webhooks);
        Ok(())
    }));
    let app = application(&store, "shop");
    let hook = webhook(&store, app.id, "hook", 0);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let store = &store;
            let told = &told;
            scope.spawn(move || {
                for step in 0..10 {
                    let (application, id) = (app.id, hook.id);
                    let changed = store.update_webhook(application, id, |webhook| {
                        webhook.description.push('x');
                        Ok(())
                    });
                    assert_eq!(changed.expect("changed").webhooks, [id]);
                    let own = webhook(store, application, &format!("{thread}-{step}"), step);
                    assert!(told.lock().expect("not poisoned").contains(&own.id), "told before it returns");
                }
            });
        }
    });
    let hook = store.webhook(&hook.id).expect("reads").expect("there");
    assert_eq!(hook.description.len(), 80);
    assert_eq!(store.webhooks(&app.id, &query(0, 1)).expect("lists").total, 81);
}

#[test]
fn a_refused_change_keeps_nothing_and_spoils_no_other() {
    let folder = folder();
    let store = Store::open(folder.path()).expect("opens");
    let app = application(&store, "shop");
    let hook = webhook(&store, app.id, "hook", 0);
    let refused = store.update_webhook(app.id, hook.id, |webhook| {
        webhook.name = "changed".to_owned();
        Err(ModelError::new("name", "must be something else"))
    });
    assert!(matches!(refused, Err(ChangeError::Refused(_))));
    assert_eq!(store.webhook(&hook.id), Ok(Some(hook.clone())));

    let other = application(&store, "other");
    let missing = store.update_webhook(other.id, hook.id, |_| Ok(()));
    assert_eq!(missing, Err(ChangeError::Missing(Resource::Webhook)));
    assert_eq!(store.delete_webhook(other.id, hook.id, true), Err(ChangeError::Missing(Resource::Webhook)));
    assert_eq!(store.insert_webhook(hook.clone()), Err(ChangeError::Conflict(Resource::Webhook)));
    let mut same_token = Webhook::create(&json!({"name": "x"}), app.id, START).expect("valid");
    same_token.token = hook.token.clone();
    assert_eq!(store.insert_webhook(same_token), Err(ChangeError::Conflict(Resource::Webhook)));
    let orphan = Webhook::create(&json!({"name": "x"}), hook.id, START).expect("valid");
    assert_eq!(store.insert_webhook(orphan), Err(ChangeError::Missing(Resource::Application)));
}

#[test]
fn a_change_of_a_flow_affects_the_webhooks_of_its_old_and_new_triggers() {
    let folder = folder();
    let store = Store::open(folder.path()).expect("opens");
    let app = application(&store, "shop");
    let a = webhook(&store, app.id, "a", 0).id;
    let b = webhook(&store, app.id, "b", 0).id;
    let kept = flow(&store, app.id, "f", &[a]);
    assert_eq!(kept.webhooks, [a]);
    let body = json!({"triggers": [{"type": "webhook", "key": b.to_string()}]});
    let changed =
        store.update_flow(app.id, kept.value.id, move |flow| flow.patch(&body, START + 1)).expect("changed");
    assert_eq!(changed.webhooks.iter().collect::<HashSet<_>>(), HashSet::from([&a, &b]));
    assert_eq!(store.flows_of_webhook(&a), Ok(Vec::new()));
    assert_eq!(store.flows_of_webhook(&b).expect("reads").len(), 1);
    assert_eq!(store.delete_flow(app.id, kept.value.id).expect("deleted").webhooks, [b]);
    assert_eq!(store.flows_of_webhook(&b), Ok(Vec::new()));
}

#[test]
fn a_change_of_an_application_affects_all_of_its_webhooks_and_no_others() {
    let folder = folder();
    let store = Store::open(folder.path()).expect("opens");
    let (app, other) = (application(&store, "shop"), application(&store, "other"));
    let hooks: HashSet<Id> = (0..3).map(|n| webhook(&store, app.id, "h", n).id).collect();
    webhook(&store, other.id, "h", 0);
    let changed = store.update_application(app.id, |_| Ok(())).expect("changed");
    assert_eq!(changed.webhooks.into_iter().collect::<HashSet<_>>(), hooks);

    flow(&store, app.id, "f", &[*hooks.iter().next().expect("three")]);
    let deleted = store.delete_application(app.id).expect("deleted");
    assert_eq!(deleted.webhooks.into_iter().collect::<HashSet<_>>(), hooks);
    assert_eq!(store.application(&app.id), Ok(None));
    assert_eq!(store.webhooks(&app.id, &query(0, 9)).expect("lists"), Listed { items: vec![], total: 0 });
    assert_eq!(store.flows(&app.id, &query(0, 9)).expect("lists").total, 0);
    assert_eq!(store.webhooks(&other.id, &query(0, 9)).expect("lists").total, 1);
    assert_eq!(store.applications(&query(0, 9)).expect("lists").total, 1);
}

#[test]
fn a_webhook_goes_with_its_flows_only_where_that_is_asked_for() {
    let folder = folder();
    let store = Store::open(folder.path()).expect("opens");
    let app = application(&store, "shop");
    let a = webhook(&store, app.id, "a", 0).id;
    let b = webhook(&store, app.id, "b", 0).id;
    let of_a = flow(&store, app.id, "of a", &[a]).value.id;
    let of_both = flow(&store, app.id, "of both", &[a, b]).value.id;
    store.delete_webhook(app.id, a, false).expect("deleted");
    assert!(store.flow(&of_a).expect("reads").is_some());
    let deleted = store.delete_webhook(app.id, b, true).expect("deleted");
    assert!(deleted.webhooks.contains(&a) && deleted.webhooks.contains(&b));
    assert!(store.flow(&of_a).expect("reads").is_some());
    assert_eq!(store.flow(&of_both), Ok(None));
}

#[test]
fn a_flow_of_another_application_is_no_flow_of_the_webhook() {
    let folder = folder();
    let store = Store::open(folder.path()).expect("opens");
    let (app, other) = (application(&store, "shop"), application(&store, "other"));
    let hook = webhook(&store, app.id, "a", 0).id;
    let foreign = flow(&store, other.id, "foreign", &[hook]).value.id;
    assert_eq!(store.flows_of_webhook(&hook), Ok(Vec::new()));
    store.delete_webhook(app.id, hook, true).expect("deleted");
    assert!(store.flow(&foreign).expect("reads").is_some());
}

#[test]
fn lists_come_in_the_order_that_is_asked_for_page_by_page() {
    let folder = folder();
    let store = Store::open(folder.path()).expect("opens");
    let app = application(&store, "shop");
    for (name, at) in [("b", 3), ("a", 2), ("ab", 1), ("c", 4)] {
        webhook(&store, app.id, name, at);
    }
    let all = |field, descending| {
        let query = ListQuery { per_page: 100, sort_field: field, descending, ..ListQuery::default() };
        let listed = store.webhooks(&app.id, &query).expect("lists");
        listed.items.into_iter().map(|webhook| webhook.name).collect::<Vec<_>>()
    };
    assert_eq!(all(SortField::Name, false), ["a", "ab", "b", "c"]);
    assert_eq!(all(SortField::Name, true), ["c", "b", "ab", "a"]);
    assert_eq!(all(SortField::CreationDate, false), ["ab", "a", "b", "c"]);
    assert_eq!(all(SortField::LastUpdated, true), ["c", "b", "a", "ab"]);
    let mut by_id = store.webhooks(&app.id, &query(0, 100)).expect("lists").items;
    by_id.sort_by_key(|webhook| webhook.id);
    assert_eq!(all(SortField::Id, false), by_id.into_iter().map(|w| w.name).collect::<Vec<_>>());

    let first = store.webhooks(&app.id, &query(0, 3)).expect("lists");
    assert_eq!((names(&first), first.total), (vec!["a", "ab", "b"], 4));
    let second = store.webhooks(&app.id, &query(1, 3)).expect("lists");
    assert_eq!((names(&second), second.total), (vec!["c"], 4));
    let none = store.webhooks(&app.id, &query(u64::MAX, 3)).expect("lists");
    assert_eq!((names(&none), none.total), (vec![], 4));
}

#[test]
fn a_filtered_list_counts_what_passes() {
    let folder = folder();
    let store = Store::open(folder.path()).expect("opens");
    let app = application(&store, "shop");
    for name in ["orders in", "Orders out", "returns"] {
        webhook(&store, app.id, name, 0);
    }
    let query = ListQuery {
        page: 1,
        per_page: 1,
        sort_field: SortField::Name,
        descending: true,
        name: Some(Glob::parse("order*")),
        ..ListQuery::default()
    };
    let listed = store.webhooks(&app.id, &query).expect("lists");
    assert_eq!((names(&listed), listed.total), (vec!["Orders out"], 2));
}

#[test]
fn flows_are_found_by_the_webhook_that_triggers_them() {
    let folder = folder();
    let store = Store::open(folder.path()).expect("opens");
    let app = application(&store, "shop");
    let a = webhook(&store, app.id, "a", 0).id;
    let b = webhook(&store, app.id, "b", 0).id;
    flow(&store, app.id, "of a", &[a]);
    flow(&store, app.id, "of both", &[a, b]);
    flow(&store, app.id, "of none", &[]);
    let fitting = |triggered| {
        let flows = FlowFilter { triggered: Some(triggered), ..FlowFilter::default() };
        let query = ListQuery { per_page: 9, flows, ..ListQuery::default() };
        let listed = store.flows(&app.id, &query).expect("lists");
        assert_eq!(listed.items.len() as u64, listed.total);
        listed.items.into_iter().map(|flow| flow.name).collect::<Vec<_>>()
    };
    let webhook = || Some("webhook".to_owned());
    let of = |webhooks: Vec<Id>| {
        let matches =
            webhooks.iter().map(|id| TriggerMatch { type_name: webhook(), key: Some(id.to_string()) });
        fitting(matches.collect())
    };
    assert_eq!(fitting(vec![TriggerMatch { type_name: webhook(), key: None }]), ["of a", "of both"]);
    assert_eq!(fitting(vec![TriggerMatch { type_name: None, key: Some(b.to_string()) }]), ["of both"]);
    assert_eq!(of(vec![a]), ["of a", "of both"]);
    assert_eq!(of(vec![b]), ["of both"]);
    assert_eq!(of(vec![a, b]), ["of a", "of both"]);
    assert!(of(vec![]).is_empty());
}

#[test]
fn every_resource_is_walked_once() {
    let folder = folder();
    let store = Store::open(folder.path()).expect("opens");
    let app = application(&store, "shop");
    let hooks: HashSet<Id> = (0..5).map(|n| webhook(&store, app.id, "h", n).id).collect();
    let mut walked = Vec::new();
    store.for_each_webhook(&mut |webhook| walked.push(webhook.id)).expect("reads");
    assert_eq!(walked.len(), 5);
    assert_eq!(walked.into_iter().collect::<HashSet<_>>(), hooks);
}

#[test]
fn the_access_token_is_made_once_and_kept_from_others() {
    let folder = folder();
    let made = access_token(folder.path(), None).expect("made");
    assert!(made.is_new && made.secret.len() >= 40 && made.warning.is_none());
    let path = made.file.expect("in a file");
    assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
    let read = access_token(folder.path(), None).expect("read");
    assert!(!read.is_new && read.secret == made.secret);

    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("changes");
    let warned = access_token(folder.path(), None).expect("read");
    assert!(warned.warning.expect("warned").contains("chmod 600"));

    let given = access_token(folder.path(), Some("given")).expect("given");
    assert_eq!((given.secret.as_str(), given.file), ("given", None));

    for broken in [&b"\n"[..], b"too short", b"\xff\xfe\x00 is no text at all"] {
        fs::write(&path, broken).expect("writes");
        let error = access_token(folder.path(), None).expect_err("refused").to_string();
        // Nothing else is lost by deleting it, and its bytes are not shown.
        assert!(error.contains("delete it and a new one is made") && !error.contains("short"), "{error}");
    }
}

#[test]
fn an_observer_that_fails_or_panics_after_the_commit_is_no_change_that_was_lost() {
    let folder = folder();
    let store = Store::open(folder.path()).expect("opens");
    let app = application(&store, "shop");
    let told: Arc<Mutex<usize>> = Arc::default();
    let times = Arc::clone(&told);
    store.observe(Box::new(move |_, _| {
        let time = {
            let mut times = times.lock().expect("not poisoned");
            *times += 1;
            *times
        };
        match time {
            1 => panic!("a fault of the observer's"),
            2 => Err("a record cannot be read".to_owned()),
            _ => Ok(()),
        }
    }));
    let hooks: Vec<Webhook> = ["panics", "fails", "is told"]
        .map(|name| Webhook::create(&json!({"name": name}), app.id, START).expect("valid"))
        .into();
    let mut whys = Vec::new();
    for hook in &hooks {
        match store.insert_webhook(hook.clone()) {
            Ok(_) => {}
            Err(ChangeError::Store(StoreError::NotApplied { why })) => whys.push(why),
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(whys, ["putting it into effect panicked", "a record cannot be read"]);
    for hook in &hooks {
        assert_eq!(store.webhook(&hook.id), Ok(Some(hook.clone())), "it is kept");
    }
}
