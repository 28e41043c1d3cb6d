//! Versions of flows, classes of flows, and a database of format 1.

use redb::{ReadableDatabase, ReadableTable};
use serde_json::json;

use super::super::tables::{FLOW_CLASSES, FLOW_VERSIONS, FLOWS, FORMAT, FORMAT_KEY, META};
use super::{START, application, flow, folder, query, webhook};
use crate::base::id::Id;
use crate::model::{FlowClass, FlowVersion};
use crate::store::{ChangeError, FlowFilter, ListQuery, MODEL_FILE, Resource, Source, Store};

fn version(store: &Store, application: Id, flow: Id, body: serde_json::Value, at: u64) -> FlowVersion {
    let made = store.change(move |changes| {
        let flow = changes.flow_of(&application, &flow)?;
        changes.insert_flow_version(FlowVersion::create(&body, &flow, START + at)?, true)
    });
    made.expect("kept").value
}

#[test]
fn the_default_version_runs_and_its_webhooks_are_told() {
    let folder = folder();
    let store = Store::open(folder.path()).expect("opens");
    let app = application(&store, "shop").id;
    let (old, new) = (webhook(&store, app, "old", 0).id, webhook(&store, app, "new", 0).id);
    let kept = flow(&store, app, "f", &[old]).value;
    let v1 = version(&store, app, kept.id, json!({"version": "v1"}), 1);
    let rewired = store.update_flow(app, kept.id, move |flow| {
        flow.patch(&json!({"triggers": [{"type": "webhook", "key": new.to_string()}]}), START)
    });
    assert_eq!(rewired.expect("kept").webhooks, [old, new]);
    let running = |webhook: &Id| {
        let flows = store.flows_of_webhook(webhook).expect("reads");
        flows.iter().flat_map(|flow| flow.webhook_ids()).collect::<Vec<_>>()
    };
    assert_eq!((running(&old), running(&new)), (vec![], vec![new]));

    let set = |id: Option<Id>| {
        store.update_flow(app, kept.id, move |flow| {
            flow.default_version_id = id;
            Ok(())
        })
    };
    let mut told = set(Some(v1.id)).expect("kept").webhooks;
    told.sort_unstable();
    told.dedup();
    assert_eq!(told, {
        let mut both = vec![old, new];
        both.sort_unstable();
        both
    });
    // Both name the flow: which of them starts it is told by the triggers that run.
    assert_eq!((running(&old), running(&new)), (vec![old], vec![old]));
    assert!(
        matches!(set(Some(app)), Err(ChangeError::Refused(error)) if error.field() == "defaultVersionId")
    );

    let delete =
        |word: String| store.change(move |changes| changes.delete_flow_version(&app, &kept.id, &word));
    assert!(matches!(delete("v1".to_owned()), Err(ChangeError::Refused(_))));
    set(None).expect("kept");
    delete("v1".to_owned()).expect("deleted");
    assert_eq!(delete(v1.id.to_string()).expect_err("gone"), ChangeError::Missing(Resource::FlowVersion));
    assert_eq!(running(&old), vec![]);
}

#[test]
fn versions_are_found_by_id_and_name_listed_and_deleted_with_their_flow() {
    let folder = folder();
    let kept;
    let (app, v1) = {
        let store = Store::open(folder.path()).expect("opens");
        let app = application(&store, "shop").id;
        kept = flow(&store, app, "f", &[]).value.id;
        let other = flow(&store, app, "g", &[]).value.id;
        let v1 = version(&store, app, kept, json!({"version": "v1", "notes": "n"}), 1);
        version(&store, app, kept, json!({"version": "v10"}), 2);
        version(&store, app, other, json!({"version": "v1"}), 3);
        (app, v1)
    };
    let store = Store::open(folder.path()).expect("opens again");
    assert_eq!(store.flow_version(&kept, "v1"), Ok(Some(v1.clone())));
    assert_eq!(store.flow_version(&kept, &v1.id.to_string()), Ok(Some(v1.clone())));
    assert_eq!(store.flow_version(&kept, "v"), Ok(None));
    assert_eq!(store.flow_version(&app, &v1.id.to_string()), Ok(None));
    let listed = store.flow_versions(&kept, &query(0, 9)).expect("lists");
    let names: Vec<&str> = listed.items.iter().map(|version| version.version.as_str()).collect();
    assert_eq!((names, listed.total), (vec!["v1", "v10"], 2));
    let by_name = |name: Option<&str>| store.flows_by_version(&app, name, &query(0, 9)).expect("lists").total;
    assert_eq!((by_name(Some("v1")), by_name(Some("v10")), by_name(None)), (2, 1, 3));

    let replaced = version(&store, app, kept, json!({"version": "v1", "notes": "other"}), 4);
    assert_eq!(
        (replaced.id, replaced.notes.as_str(), replaced.creation_date),
        (v1.id, "other", v1.creation_date)
    );
    let again = store.change(move |changes| {
        let flow = changes.flow_of(&app, &kept)?;
        changes.insert_flow_version(FlowVersion::create(&json!({"version": "v1"}), &flow, START)?, false)
    });
    assert_eq!(again.expect_err("taken"), ChangeError::Conflict(Resource::FlowVersion));

    store.delete_flow(app, kept).expect("deleted");
    assert_eq!(store.flow_version(&kept, &v1.id.to_string()), Ok(None));
    assert_eq!(by_name(None), 1);
    store.delete_application(app).expect("deleted");
}

fn of_class(store: &Store, application: &Id, class: Option<FlowClass>) -> Vec<String> {
    let flows = FlowFilter { class, ..FlowFilter::default() };
    let listed =
        store.flows(application, &ListQuery { per_page: 9, flows, ..ListQuery::default() }).expect("lists");
    assert_eq!(listed.items.len() as u64, listed.total);
    listed.items.into_iter().map(|flow| flow.name).collect()
}

#[test]
fn a_database_of_format_1_opens_with_what_it_holds() {
    let folder = folder();
    let (app, hook, edge) = {
        let store = Store::open(folder.path()).expect("opens");
        let app = application(&store, "shop").id;
        let hook = webhook(&store, app, "w", 0).id;
        flow(&store, app, "plain", &[hook]);
        (app, hook, flow(&store, app, "edge", &[hook]).value.id)
    };
    // As format 1 left it: its tables alone, and a flow's class among what it kept unread.
    let path = folder.path().join(MODEL_FILE);
    let database = redb::Database::open(&path).expect("opens");
    let transaction = database.begin_write().expect("begins");
    transaction.delete_table(FLOW_VERSIONS).expect("deleted");
    transaction.delete_table(FLOW_CLASSES).expect("deleted");
    {
        transaction.open_table(META).expect("opens").insert(FORMAT_KEY, 1).expect("kept");
        let mut flows = transaction.open_table(FLOWS).expect("opens");
        let bytes = flows.get(edge.raw()).expect("reads").expect("there").value().to_vec();
        let mut record: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
        record["extra"] = json!({"flowClass": "edge", "globals": [{"key": "k", "json": "1"}]});
        flows.insert(edge.raw(), record.to_string().as_bytes()).expect("kept");
    }
    transaction.commit().expect("kept");
    drop(database);

    for _ in 0..2 {
        let store = Store::open(folder.path()).expect("a database of the version before opens");
        assert_eq!(of_class(&store, &app, Some(FlowClass::Cloud)), ["plain"]);
        assert_eq!(of_class(&store, &app, Some(FlowClass::Edge)), ["edge"]);
        assert_eq!(of_class(&store, &app, None), ["edge", "plain"]);
        assert_eq!(store.flows_of_webhook(&hook).expect("reads").len(), 2);
        version(&store, app, edge, json!({"version": "v1"}), 1);
        assert_eq!(store.flow_versions(&edge, &query(0, 9)).expect("lists").total, 1);
    }
    let database = redb::Database::open(&path).expect("opens");
    let format = database.begin_read().expect("begins").open_table(META).expect("opens").get(FORMAT_KEY);
    assert_eq!(format.expect("reads").map(|format| format.value()), Some(FORMAT));
}
