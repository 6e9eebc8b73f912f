//! Fields of a request body, as simplejwt's serializers read them.

use std::ops::Deref;

use actix_web::{FromRequest, HttpRequest, dev::Payload, web::Data as Shared};
use futures_util::future::LocalBoxFuture;
use zeroize::Zeroizing;

use crate::{
    body::Data,
    error::HttpError,
    fields::{Trim, char_field},
    state::State,
};

/// Errors of fields, by name.
pub(crate) type FieldErrors = Vec<(&'static str, Vec<String>)>;

/// Fields of a body. The macro `form!` implements it.
pub(crate) trait FormFields: Sized + 'static {
    /// Names of the fields, in the order of the errors.
    const NAMES: &'static [&'static str];

    /// Reads the fields, or returns the errors of all of them.
    fn read(data: Data) -> Result<Self, HttpError>;
}

/// Kind of a field, which determines how its text is read.
pub(crate) trait Field: Sized {
    const TRIM: Trim;

    fn new(text: Zeroizing<String>) -> Self;
}

/// Text without surrounding white space. Wiped when it is dropped.
#[derive(Default)]
pub(crate) struct Text(Zeroizing<String>);

/// Text exactly as sent, for passwords. Wiped when it is dropped.
#[derive(Default)]
pub(crate) struct Verbatim(pub Zeroizing<String>);

/// Body with the fields of `T`.
pub(crate) struct Form<T>(pub T);

/// Body with any fields, for a view that distinguishes a missing field, `null` and text.
pub(crate) struct RawForm(pub Data);

impl Field for Text {
    const TRIM: Trim = Trim::Yes;

    fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }
}

impl Field for Verbatim {
    const TRIM: Trim = Trim::No;

    fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<T: FormFields> FromRequest for Form<T> {
    type Error = HttpError;
    type Future = LocalBoxFuture<'static, Result<Self, HttpError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let data = read(request, payload);
        Box::pin(async move { T::read(data.await?).map(Self) })
    }
}

impl FormFields for RawForm {
    const NAMES: &'static [&'static str] = &[];

    fn read(data: Data) -> Result<Self, HttpError> {
        Ok(Self(data))
    }
}

fn read(
    request: &HttpRequest,
    payload: &mut Payload,
) -> impl Future<Output = Result<Data, HttpError>> + use<> {
    let (request, payload) = (request.clone(), payload.take());
    async move {
        let state = request
            .app_data::<Shared<State>>()
            .ok_or(HttpError::BadRequest)?;
        Data::read(&request, payload, &state.settings).await
    }
}

/// Reads one field, or adds its errors to `errors`.
pub(crate) fn field<T: Field>(data: &mut Data, name: &'static str, errors: &mut FieldErrors) -> T {
    let text = char_field(data.take(name), T::TRIM).unwrap_or_else(|texts| {
        errors.push((name, texts));
        Zeroizing::default()
    });
    T::new(text)
}

/// Declares the fields of a body, for the parser and for the OpenAPI document.
macro_rules! form {
    (
        $(#[$meta:meta])*
        $form:ident {
            $($(#[$doc:meta])* $name:ident: $kind:ident($($schema:tt)*),)+
        }
    ) => {
        $(#[$meta])*
        #[derive(utoipa::ToSchema)]
        pub(in crate) struct $form {
            $(
                $(#[$doc])*
                #[schema(
                    value_type = String,
                    min_length = 1,
                    pattern = r"^[^\u0000]*[^\s\u0000][^\u0000]*$",
                    $($schema)*
                )]
                pub $name: $crate::extract::$kind,
            )+
        }

        impl $crate::extract::FormFields for $form {
            const NAMES: &'static [&'static str] = &[$(stringify!($name)),+];

            fn read(
                mut data: $crate::body::Data,
            ) -> Result<Self, $crate::error::HttpError> {
                let mut errors = Vec::new();
                let form = Self {
                    $($name: $crate::extract::field(
                        &mut data,
                        stringify!($name),
                        &mut errors,
                    ),)+
                };
                if errors.is_empty() {
                    Ok(form)
                } else {
                    Err($crate::error::HttpError::Fields(errors))
                }
            }
        }
    };
}
pub(crate) use form;
