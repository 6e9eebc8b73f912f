//! Tests of the panic hook.

use std::{
    io,
    panic::{set_hook, take_hook},
    sync::{Arc, Mutex},
    thread,
};

use tracing_subscriber::fmt;

use super::log_panic;

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn panic_of_a_background_task_is_not_logged_as_a_response() {
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let previous = take_hook();
    set_hook(Box::new(log_panic));
    let panicked = thread::Builder::new()
        .name("janitor".to_owned())
        .spawn(|| tracing::subscriber::with_default(subscriber, || panic!("the secret is hunter2")))
        .unwrap()
        .join();
    set_hook(previous);
    assert!(panicked.is_err());
    let log = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    assert!(
        log.contains("panic place=") && log.contains("thread=\"janitor\""),
        "{log}"
    );
    assert!(
        !log.contains("500") && !log.contains("request") && !log.contains("hunter2"),
        "{log}"
    );
}
