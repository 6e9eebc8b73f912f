//! `latchkey healthcheck`: what a container's health check runs, where there is no curl.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    process::ExitCode,
    time::Duration,
};

use clap::Args;

use super::{Failure, output};
use crate::config::{http, value};

/// More than the answer ever is.
const LONGEST: u64 = 4096;

#[derive(Args, Debug)]
pub(super) struct HealthcheckArgs {
    /// The address that the server listens on; one that means all addresses is asked on loopback
    #[arg(long, env = "LATCHKEY_BIND", value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8000", value_parser = http::address)]
    bind: SocketAddr,
    /// How long connecting and each wait for the answer may take
    #[arg(long, value_name = "SPAN", default_value = "3s", value_parser = value::positive_duration)]
    timeout: Duration,
}

/// Asks `/health/ready`. Without a runtime's help: it is one request to ourselves.
pub(super) fn run(arguments: &HealthcheckArgs) -> Result<ExitCode, Failure> {
    let address = reachable(arguments.bind);
    let answer = ask(address, arguments.timeout)
        .map_err(|error| Failure::Failed(format!("http://{address} does not answer: {error}")))?;
    let (status, body) = parts(&answer).ok_or_else(|| {
        Failure::Failed(format!("what listens on {address} does not answer in HTTP"))
    })?;
    if status == "200" {
        output::line(body);
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::Failed(format!(
        "http://{address} is not ready: {status} {}",
        body.replace(char::is_control, " ")
    )))
}

/// Where a server that listens there can be asked from this machine.
fn reachable(mut bind: SocketAddr) -> SocketAddr {
    match bind.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => bind.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => bind.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    bind
}

fn ask(address: SocketAddr, timeout: Duration) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    let request =
        format!("GET /health/ready HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The status code and the body.
fn parts(answer: &str) -> Option<(&str, &str)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut words = head.lines().next()?.split(' ');
    let version = words.next()?;
    Some((
        words.next().filter(|_| version.starts_with("HTTP/1."))?,
        body.trim(),
    ))
}

#[cfg(test)]
mod tests {
    use super::{parts, reachable};

    #[test]
    fn an_address_that_means_all_is_asked_on_loopback() {
        let asked = |bind: &str| reachable(bind.parse().unwrap()).to_string();
        assert_eq!(asked("0.0.0.0:8000"), "127.0.0.1:8000");
        assert_eq!(asked("[::]:8000"), "[::1]:8000");
        assert_eq!(asked("192.0.2.7:80"), "192.0.2.7:80");
    }

    #[test]
    fn only_http_is_an_answer() {
        assert_eq!(
            parts("HTTP/1.1 200 OK\r\na: b\r\n\r\n{}\n"),
            Some(("200", "{}"))
        );
        assert_eq!(
            parts("HTTP/1.1 503 Service Unavailable\r\n\r\n"),
            Some(("503", ""))
        );
        for other in [
            "",
            "-ERR unknown command\r\n",
            "SSH-2.0-OpenSSH 200\r\n\r\n",
            "HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(parts(other), None, "{other:?}");
        }
    }
}
