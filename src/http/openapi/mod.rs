//! The OpenAPI document: what the handlers say of themselves, and what holds for all of them. `docs/reference/openapi.json` is a
//! copy of it, `/openapi.json` serves it.

mod endpoints;
mod error_responses;
mod modifiers;
pub(super) mod schemas;

use std::sync::LazyLock;

use endpoints::Endpoints;
use modifiers::Shared;
use utoipa::OpenApi;

/// OpenAPI 3.1.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Latchkey",
        description = "JWT access and refresh tokens with the wire of Django's simplejwt.\n\n\
            Every path is answered with and without its final slash. Bodies are read as JSON, as a form and as a multipart \
            form, in the `charset` that `Content-Type` names and otherwise in UTF-8; an unknown one is a 415. Of \
            several fields of one name, the last counts. Responses are JSON in UTF-8.\n\n\
            Pages of any origin may read keys and discovery (`Access-Control-Allow-Origin: *`). Where a resource is read, HEAD is answered too, and OPTIONS everywhere (204, \
            with `Allow`). An `X-Request-ID` that is a short plain word comes back in the answer, and any other is replaced."
    ),
    // Relative to the URL of the document, so that a proxy may put the service into a folder.
    servers((url = ".", description = "The server of this document.")),
    tags(
        (name = "tokens", description = "simplejwt's views: obtain, refresh, verify, blacklist."),
        (name = "account", description = "Who is signed in, where, and the end of it."),
        (name = "keys", description = "What others need to verify access tokens by themselves."),
        (name = "operation", description = "For those who run the service.")
    ),
    components(schemas(schemas::Detail, schemas::CodedDetail, schemas::TokenNotValid, schemas::FieldErrors)),
    modifiers(&Endpoints, &Shared),
)]
struct Document;

/// The document as text, with a line break at its end: it depends on no setting.
#[must_use]
pub fn document() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let text = serde_json::to_string_pretty(&Document::openapi());
        // Maps with text for keys can always be written; were it otherwise, every test of the document would fail.
        text.map(|text| text + "\n").unwrap_or_default()
    });
    &TEXT
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::document;
    use crate::http::router::endpoints;

    #[test]
    fn document_has_every_endpoint_except_the_page() {
        let document: Value = serde_json::from_str(document()).unwrap();
        let documented: BTreeSet<(String, String)> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, item)| {
                let path = path.trim_end_matches('/');
                let methods = item.as_object().unwrap().keys();
                methods.map(|method| (path.to_owned(), method.to_uppercase()))
            })
            .collect();
        let registered: BTreeSet<(String, String)> = endpoints()
            .iter()
            .filter(|endpoint| endpoint.label != "/docs")
            .map(|endpoint| (endpoint.path.to_owned(), endpoint.method.to_string()))
            .collect();
        assert_eq!(documented, registered);
    }
}
