//! Adds the operations of all endpoints, with their schemas and error responses.

use utoipa::{
    Modify,
    openapi::{
        ObjectBuilder, OpenApi, PathItem, RefOr,
        path::{HttpMethod, Operation},
        schema::{AdditionalProperties, Schema, Type},
    },
};

use super::error_responses;
use crate::{endpoint::Endpoint, router::endpoints};

/// Modifier that adds the operations.
pub(super) struct Endpoints;

impl Modify for Endpoints {
    fn modify(&self, document: &mut OpenApi) {
        let mut schemas = Vec::new();
        for endpoint in endpoints() {
            if let Some(described) = &endpoint.document {
                let mut operation = (described.operation)();
                operation.tags = Some((described.tags)().into_iter().map(Into::into).collect());
                let errors = error_responses::of(endpoint);
                operation.responses.responses.extend(errors);
                add(document, endpoint, operation);
                (described.schemas)(&mut schemas);
            }
        }
        let components = document.components.get_or_insert_default();
        components.schemas.extend(schemas);
        if let Some(RefOr::T(Schema::Object(metadata))) = components.schemas.get_mut("Metadata") {
            let url = ObjectBuilder::new().schema_type(Type::String).build();
            for member in endpoints()
                .iter()
                .filter_map(|endpoint| endpoint.advertised)
            {
                let url = RefOr::T(Schema::Object(url.clone()));
                metadata.properties.insert(member.to_owned(), url);
                metadata.required.push(member.to_owned());
            }
            metadata.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
        }
    }
}

/// Adds an operation. Paths of Django's API have a final slash, as clients usually write them.
fn add(document: &mut OpenApi, endpoint: &Endpoint, operation: Operation) {
    let slash = if endpoint.path.starts_with("/api/") {
        "/"
    } else {
        ""
    };
    let method = match endpoint.method.as_str() {
        "POST" => HttpMethod::Post,
        "DELETE" => HttpMethod::Delete,
        _ => HttpMethod::Get,
    };
    let item = PathItem::new(method, operation);
    let path = format!("{}{slash}", endpoint.path);
    match document.paths.paths.get_mut(&path) {
        Some(known) => known.merge_operations(item),
        None => {
            document.paths.paths.insert(path, item);
        }
    }
}
