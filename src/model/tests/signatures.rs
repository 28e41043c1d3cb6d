//! `signature` of a webhook: schemes, their fields, what is shown of them.

use serde_json::json;

use super::{Webhook, check_refusals, webhook};

#[test]
fn each_bad_field_of_a_described_scheme_is_named_with_what_it_must_be() {
    let refusals = [
        (
            "signature",
            json!({"scheme": "hmac", "secret": "s", "header": "X", "signed": "{{time}}{{body}}"}),
            "signature.signed",
            "{{timestamp}}, {{body}}, {{url}} and {{id}}",
        ),
        (
            "signature",
            json!({"scheme": "hmac", "secret": "s", "header": "X", "signed": "{{body"}),
            "signature.signed",
            "must be text",
        ),
        (
            "signature",
            json!({"scheme": "hmac", "secret": "s", "header": "X", "signed": "{{url}}"}),
            "signature.signed",
            "must hold {{body}}",
        ),
        (
            "signature",
            json!({"scheme": "hmac", "secret": "s", "header": "X", "signed": "{{timestamp}}.{{body}}"}),
            "signature.timestampHeader",
            "is required",
        ),
        (
            "signature",
            json!({"scheme": "ed25519", "secret": "s", "header": "X", "timestampHeader": "T"}),
            "signature.signed",
            "must hold {{timestamp}}",
        ),
        (
            "signature",
            json!({"scheme": "hmac", "secret": "s", "header": "X", "timestampHeader": "x", "signed": "{{timestamp}}{{body}}"}),
            "signature.separator",
            "is required",
        ),
        (
            "signature",
            json!({"scheme": "hmac", "secret": "s", "header": "X", "timestampPrefix": "t="}),
            "signature.timestampHeader",
            "is required with timestampPrefix",
        ),
        (
            "signature",
            json!({"scheme": "ed25519", "secret": "s", "header": "X", "algorithm": "sha1"}),
            "signature.algorithm",
            "is not a field of a signature of the scheme ed25519",
        ),
        (
            "signature",
            json!({"scheme": "hmac", "secret": "s", "header": "X", "toleranceSeconds": 0}),
            "signature.toleranceSeconds",
            "from 1 to 86400",
        ),
    ];
    check_refusals(|body| webhook(body).map(drop), &json!({"name": "x"}), &refusals);
}

#[test]
fn every_scheme_is_taken_and_shown() {
    for scheme in [
        "standard-webhooks",
        "github",
        "stripe",
        "slack",
        "shopify",
        "twilio",
        "meta",
        "fitbit",
        "discord",
        "zoom",
        "pagerduty",
    ] {
        let body = json!({"name": "n", "signature": {"scheme": scheme, "secret": "s"}});
        let webhook = webhook(&body).expect("valid");
        assert_eq!(webhook.to_api()["signature"], json!({"scheme": scheme, "secret": "***"}));
        assert_eq!(Webhook::from_stored(&webhook.to_stored()), Ok(webhook));
    }
}

#[test]
fn a_described_scheme_is_shown_as_it_was_written() {
    for signature in [
        json!({"scheme": "hmac", "secret": "***", "header": "P-Sig", "algorithm": "sha1", "encoding": "base64", "prefix": "h1=",
            "separator": ";", "timestampHeader": "P-Sig", "timestampPrefix": "ts=", "idHeader": "X-Id",
            "signed": "{{id}}.{{timestamp}}.{{url}}{{body}}!", "toleranceSeconds": 10}),
        json!({"scheme": "ed25519", "secret": "***", "header": "X-Sig", "encoding": "hex", "prefix": "",
            "timestampHeader": "X-Time", "signed": "{{timestamp}}{{body}}"}),
    ] {
        let mut sent = signature.clone();
        sent["secret"] = json!("s");
        let webhook = webhook(&json!({"name": "n", "signature": sent})).expect("valid");
        assert_eq!(webhook.to_api()["signature"], signature);
        assert_eq!(Webhook::from_stored(&webhook.to_stored()), Ok(webhook));
    }
}
