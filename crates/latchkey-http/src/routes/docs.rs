//! `/openapi.json` serves the OpenAPI document, and `/docs/` Swagger UI, which is part of the
//! binary. Both can be disabled.

use std::{
    borrow::Cow,
    collections::HashMap,
    convert::Infallible,
    io::{self, Read as _},
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use actix_web::{
    HttpRequest, HttpResponse,
    body::{MessageBody, SizedStream},
    http::{
        Method,
        header::{
            AcceptEncoding, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, Encoding,
            Header as _, LOCATION, VARY,
        },
    },
    web::Bytes,
};
use flate2::read::GzDecoder;
use futures_util::stream;
use utoipa_swagger_ui::{Config, SwaggerFile, serve};

use crate::{
    endpoint::{Builder, Endpoint, route},
    error::HttpError,
    openapi::{document, schemas::Description},
};
use latchkey_service::Error;

/// Policy of the page: only files of this server and embedded images.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Size of the pieces of a large response, in bytes.
const CHUNK_SIZE: usize = 8 * 1024;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let get = |path| -> Builder { route(Method::GET, path).enabled(|settings| settings.docs) };
    vec![
        get("/openapi.json")
            .document::<__path_openapi>()
            .handle(openapi),
        get("/docs").handle(page),
        get("/docs/{file}").label("/docs").handle(page),
    ]
}

#[utoipa::path(
    get, path = "/openapi.json", tag = "operation", operation_id = "openapi",
    summary = "Get this document",
    description = "`LATCHKEY_DOCS=false` disables it, and Swagger UI under `/docs/`.",
    responses((status = 200, description = "OpenAPI 3.1.", body = Description))
)]
async fn openapi() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/json"))
        .body(in_pieces(document().into()))
}

async fn page(request: HttpRequest) -> Result<HttpResponse, HttpError> {
    // Links of the page and this redirect are relative, because a proxy may serve them under a
    // prefix.
    if request.path() == "/docs" {
        return Ok(HttpResponse::PermanentRedirect()
            .insert_header((LOCATION, "docs/"))
            .finish());
    }
    let file = request.match_info().get("file").unwrap_or_default();
    // By default, Swagger UI sends the document's URL to an external validator.
    let config = Config::from("../openapi.json")
        .validator_url("none")
        .use_base_layout();
    let broken = |_| HttpError::Service(Error::Internal("Swagger UI cannot be read".to_owned()));
    let SwaggerFile {
        bytes,
        content_type,
        gzpipped,
        ..
    } = serve(file, Arc::new(config))
        .map_err(broken)?
        .ok_or(HttpError::NotFound)?;
    let mut response = HttpResponse::Ok();
    response
        .insert_header((CONTENT_TYPE, content_type))
        .insert_header((CONTENT_SECURITY_POLICY, POLICY));
    let mut bytes = match bytes {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => bytes.into(),
    };
    if gzpipped {
        response.insert_header((VARY, "Accept-Encoding"));
        if accepts_gzip(&request) {
            response.insert_header((CONTENT_ENCODING, "gzip"));
        } else {
            bytes = decompressed(file, &bytes).map_err(|_| broken("gzip".into()))?;
        }
    }
    Ok(response.body(in_pieces(bytes)))
}

/// Returns true if the client requests gzip. A client without `Accept-Encoding`, such as curl,
/// often cannot decompress.
fn accepts_gzip(request: &HttpRequest) -> bool {
    let accepted = AcceptEncoding::parse(request).ok();
    let offered = [Encoding::identity(), Encoding::gzip()];
    accepted.and_then(|accepted| accepted.negotiate(offered.iter())) == Some(Encoding::gzip())
}

/// Returns a compressed file as text. There are few files, and each is decompressed once.
fn decompressed(file: &str, compressed: &[u8]) -> io::Result<Bytes> {
    static DECOMPRESSED: LazyLock<Mutex<HashMap<String, Bytes>>> = LazyLock::new(Mutex::default);
    let mut known = DECOMPRESSED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(bytes) = known.get(file) {
        return Ok(bytes.clone());
    }
    let mut bytes = Vec::new();
    GzDecoder::new(compressed).read_to_end(&mut bytes)?;
    let bytes = Bytes::from(bytes);
    known.insert(file.to_owned(), bytes.clone());
    Ok(bytes)
}

/// Returns a body that is copied in pieces while the client reads it. The web server would copy a
/// single piece at once.
fn in_pieces(bytes: Bytes) -> impl MessageBody + 'static {
    let length = bytes.len();
    let pieces = (0..length)
        .step_by(CHUNK_SIZE)
        .map(move |start| bytes.slice(start..length.min(start + CHUNK_SIZE)));
    SizedStream::new(length as u64, stream::iter(pieces.map(Ok::<_, Infallible>)))
}
