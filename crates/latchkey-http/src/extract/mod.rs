//! Arguments of handlers: the authenticated caller, the client and the fields of a body.

mod auth;
mod bearer;
mod client_address;
mod client_info;
mod form;

pub(super) use self::{
    auth::{Auth, OptionalAuth},
    client_info::Client,
    form::{Form, FormFields, RawForm, Text, Verbatim, field, form},
};
