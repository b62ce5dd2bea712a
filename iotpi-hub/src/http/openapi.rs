//! The OpenAPI document, generated from the router.

use std::collections::BTreeMap;

use utoipa::{
    IntoResponses, Modify, OpenApi as _,
    openapi::{
        OpenApi, Ref, RefOr, Schema, SecurityRequirement,
        path::Operation,
        schema::{AdditionalProperties, ArrayItems},
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use super::{
    cookie::SESSION_COOKIE,
    problem::{Internal, InvalidArgument, PermissionDenied, Unauthenticated, Unavailable},
};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "iotpi hub",
        description = "The HTTP API of the iotpi hub: readings, commands, camera frames and live events. docs/ref/api.md describes the rules that a schema cannot express.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
        contact(name = "iotpi", url = "https://github.com/iotpi/iotpi"),
    ),
    servers((url = "../", description = "This hub, relative to the address of this document, /api/openapi.json")),
    tags(
        (name = "sensors", description = "Record and query readings"),
        (name = "camera", description = "Upload and view camera frames; only the newest frame is kept, unless it is recorded"),
        (name = "modules", description = "Registered modules, their manifests and health"),
        (name = "commands", description = "Commands to modules and their outcomes"),
        (name = "live", description = "Events and camera frames over WebSocket"),
        (name = "auth", description = "Users, sessions and tokens"),
        (name = "operations", description = "Health, metrics, storage and other administration of the hub")
    ),
    components(schemas(iotpi_core::model::error::Problem, iotpi_core::model::error::ErrorKind)),
    security(("session" = []), ("bearer" = []), ("basic" = [])),
    modifiers(&Schemes)
)]
struct Description;

struct Schemes;

impl Modify for Schemes {
    fn modify(&self, openapi: &mut OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let cookie = ApiKeyValue::with_description(SESSION_COOKIE, "The session of a user, set by the login");
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("An API token, a module token or a JWT"))
            .build();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        let basic = HttpBuilder::new()
            .scheme(HttpAuthScheme::Basic)
            .description(Some(
                "An API token, a module token or a JWT as the password; the user name is ignored",
            ))
            .build();
        components.add_security_scheme("basic", SecurityScheme::Http(basic));
        let signed = ApiKeyValue::with_description("sig", "The signature in a URL from POST /api/auth/url");
        components.add_security_scheme("signed_url", SecurityScheme::ApiKey(ApiKey::Query(signed)));
    }
}

/// The OpenAPI 3.1 document, as pretty JSON with a line feed at the end.
#[must_use]
pub fn openapi() -> String {
    let mut openapi = super::api().into_openapi(Description::openapi());
    for item in openapi.paths.paths.values_mut() {
        let methods = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
        methods.into_iter().flatten().for_each(add_common_responses);
    }
    if let Some(components) = &mut openapi.components {
        components.schemas.iter_mut().for_each(|(name, schema)| name_items(name, schema));
        components.schemas.values_mut().filter_map(description).for_each(remove_examples);
        close_command_report(&mut components.schemas);
    }
    let mut text = openapi.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// Refers to the item type of a page by name. utoipa writes the schema of a type parameter inline, but a
/// generated client needs the named type.
fn name_items(name: &str, schema: &mut RefOr<Schema>) {
    let (Some(item), RefOr::T(Schema::Object(page))) = (name.strip_prefix("Page_"), schema) else { return };
    if let Some(RefOr::T(Schema::Array(items))) = page.properties.get_mut("items") {
        items.items = ArrayItems::RefOrSchema(Box::new(Ref::from_schema_name(item).into()));
    }
}

/// The description of a schema, which utoipa takes from the documentation of the Rust type.
fn description(schema: &mut RefOr<Schema>) -> Option<&mut String> {
    let RefOr::T(schema) = schema else { return None };
    match schema {
        Schema::Object(object) => object.description.as_mut(),
        Schema::OneOf(one_of) => one_of.description.as_mut(),
        Schema::AllOf(all_of) => all_of.description.as_mut(),
        Schema::AnyOf(any_of) => any_of.description.as_mut(),
        _ => None,
    }
}

/// Removes the examples in Rust, which are at the end.
fn remove_examples(description: &mut String) {
    if let Some(at) = description.find("```") {
        description.truncate(description[..at].trim_end().len());
    }
}

/// Forbids additional fields in a command report. utoipa does this for structs with `deny_unknown_fields`,
/// but not for enums.
fn close_command_report(schemas: &mut BTreeMap<String, RefOr<Schema>>) {
    let Some(RefOr::T(Schema::OneOf(report))) = schemas.get_mut("CommandReport") else { return };
    for outcome in &mut report.items {
        if let RefOr::T(Schema::Object(outcome)) = outcome {
            outcome.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
        }
    }
}

/// Adds the error responses that any operation may return: malformed requests, rejected hosts and origins,
/// internal errors, an unavailable hub and, unless the operation is public, missing or invalid credentials.
fn add_common_responses(operation: &mut Operation) {
    let open = operation.security.as_deref().is_some_and(|s| s.contains(&SecurityRequirement::default()));
    let mut common = [InvalidArgument::responses(), PermissionDenied::responses(), Internal::responses()]
        .into_iter()
        .chain([Unavailable::responses()])
        .chain((!open).then(Unauthenticated::responses));
    for (status, response) in common.by_ref().flatten() {
        operation.responses.responses.entry(status).or_insert(response);
    }
}
