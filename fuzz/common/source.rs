//! A model in memory for the registry to compile.

use std::sync::LazyLock;

use serde_json::json;
use tidegate::base::id::Id;
use tidegate::model::{Application, Flow, Webhook};
use tidegate::registry::Defaults;
use tidegate::settings::Settings;
use tidegate::store::{Source, StoreError};

const CORES: usize = 2;

/// What a server of [`CORES`] cores falls back to where nothing is set.
pub static DEFAULTS: LazyLock<Defaults> =
    LazyLock::new(|| Defaults::new(CORES, &Settings::defaults(CORES).limits));

pub struct Model {
    application: Application,
    webhooks: Vec<Webhook>,
    flows: Vec<Flow>,
}

impl Model {
    /// Webhooks and flows of one application, whatever they say whose they are; none: one without globals.
    pub fn new(application: Option<Application>, mut webhooks: Vec<Webhook>, mut flows: Vec<Flow>) -> Model {
        let application = application.unwrap_or_else(|| {
            Application::create(&json!({"name": "a"}), 0).expect("a name is all it needs")
        });
        webhooks.iter_mut().for_each(|webhook| webhook.application_id = application.id);
        flows.iter_mut().for_each(|flow| flow.application_id = application.id);
        Model { application, webhooks, flows }
    }
}

impl Source for Model {
    fn application(&self, id: &Id) -> Result<Option<Application>, StoreError> {
        Ok((self.application.id == *id).then(|| self.application.clone()))
    }

    fn webhook(&self, id: &Id) -> Result<Option<Webhook>, StoreError> {
        Ok(self.webhooks.iter().find(|webhook| webhook.id == *id).cloned())
    }

    fn flow(&self, id: &Id) -> Result<Option<Flow>, StoreError> {
        Ok(self.flows.iter().find(|flow| flow.id == *id).cloned())
    }

    fn flows_of_webhook(&self, id: &Id) -> Result<Vec<Flow>, StoreError> {
        Ok(self.flows.iter().filter(|flow| flow.webhook_ids().contains(id)).cloned().collect())
    }

    fn for_each_application(&self, each: &mut dyn FnMut(Application)) -> Result<(), StoreError> {
        each(self.application.clone());
        Ok(())
    }

    fn for_each_webhook(&self, each: &mut dyn FnMut(Webhook)) -> Result<(), StoreError> {
        self.webhooks.iter().for_each(|webhook| each(webhook.clone()));
        Ok(())
    }

    fn for_each_flow(&self, each: &mut dyn FnMut(Flow)) -> Result<(), StoreError> {
        self.flows.iter().for_each(|flow| each(flow.clone()));
        Ok(())
    }
}
