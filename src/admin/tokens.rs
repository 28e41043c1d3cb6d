//! `/tokens`: access tokens beside the first one, each with a name, rights and perhaps an end. A secret is in the answer
//! that made it and nowhere else; its digest is kept.
//!
//! A token is taken, or taken no longer, from the answer on. What is open then stays open: a stream of requests, a worker
//! that is attached.

use axum::Json;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::call::{Call, MadeId, Outcome};
use super::error::{ApiError, Kind};
use super::schema_parts::{object, object_of, properties};
use crate::base::id::Id;
use crate::model::{ACCESS_TOKEN, ACCESS_TOKEN_POST, AccessToken};
use crate::store::ACCESS_TOKENS_MAX;
use crate::verify::access::{FIRST_TOKEN, digest_of};

/// Random bytes of a secret: as many as the first token has.
const SECRET_BYTES: usize = 30;

pub(super) async fn list_tokens(call: Call) -> Outcome {
    let tokens = call.state.look(|store| store.access_tokens()).await?;
    let items: Vec<Value> = tokens.iter().map(AccessToken::to_api).collect();
    Ok(Json(json!({"count": items.len(), "items": items})).into_response())
}

pub(super) async fn create_token(mut call: Call) -> Outcome {
    let body = call.json().await?;
    let mut bytes = [0; SECRET_BYTES];
    let failed = |error: getrandom::Error| ApiError::from_engine(500, format!("no random bytes: {error}"));
    getrandom::fill(&mut bytes).map_err(failed)?;
    let secret = URL_SAFE_NO_PAD.encode(bytes);
    let token = AccessToken::create(&body, digest_of(&secret), call.state.clock.now().unix_millis)?;
    if token.name == FIRST_TOKEN {
        return Err(ApiError::validation(format!("`name` must not be {FIRST_TOKEN}: the first token's")));
    }
    let kept = call.state.change(move |store| store.insert_access_token(token)).await?.value;
    call.state.tokens.insert(&kept);
    let mut shown = kept.to_api();
    shown["token"] = Value::from(secret);
    let mut response = (StatusCode::CREATED, Json(shown)).into_response();
    response.extensions_mut().insert(MadeId(kept.id));
    Ok(response)
}

pub(super) async fn delete_token(call: Call) -> Outcome {
    let missing = || ApiError::new(Kind::NotFound, "Access token was not found");
    let id: Id = call.parameter("tokenId").parse().map_err(|_| missing())?;
    let deleted = call.state.change(move |store| store.delete_access_token(id)).await?;
    call.state.tokens.remove(&deleted.value.ok_or_else(missing)?);
    Ok(Json(json!({"success": true})).into_response())
}

/// The shapes of the bodies.
pub(super) fn schemas() -> Map<String, Value> {
    let shown = || {
        object(
            Value::Object(properties(&ACCESS_TOKEN, |_| true)),
            &["id", "name", "rights", "creationDate", "expires"],
        )
    };
    let mut made = shown();
    made["properties"]["token"] = json!({"type": "string", "description": "The secret, shown this once"});
    made["required"] = json!(["id", "name", "rights", "creationDate", "expires", "token"]);
    let list = json!({
        "items": {"type": "array", "maxItems": ACCESS_TOKENS_MAX,
            "items": {"$ref": "#/components/schemas/AccessToken"}},
        "count": {"type": "integer"},
    });
    Map::from_iter([
        ("AccessToken".to_owned(), shown()),
        ("AccessTokenMade".to_owned(), made),
        ("AccessTokenPost".to_owned(), object_of(&ACCESS_TOKEN_POST)),
        ("AccessTokens".to_owned(), object(list, &["items", "count"])),
    ])
}
