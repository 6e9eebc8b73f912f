//! `latchkey healthcheck`: health check of a container without curl.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    process::ExitCode,
    time::Duration,
};

use clap::Args;

use super::{Failure, output};
use crate::config::{http, value};

/// Maximum size of a response. The responses of the server are shorter.
const MAX_RESPONSE: u64 = 4096;

#[derive(Args, Debug)]
pub(super) struct HealthcheckArgs {
    /// Address that the server listens on; a wildcard address is checked on loopback
    #[arg(long, env = "LATCHKEY_BIND", value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8000", value_parser = http::address)]
    bind: SocketAddr,
    /// Time limit for connecting, and for each read of the response
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = value::positive_duration)]
    timeout: Duration,
}

/// Requests `/health/ready`.
pub(super) fn run(arguments: &HealthcheckArgs) -> Result<ExitCode, Failure> {
    let address = reachable(arguments.bind);
    let response = fetch(address, arguments.timeout)
        .map_err(|error| Failure::Failed(format!("http://{address} does not respond: {error}")))?;
    let (status, body) = parts(&response)
        .ok_or_else(|| Failure::Failed(format!("the response of {address} is not HTTP")))?;
    if status == "200" {
        output::line(body);
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::Failed(format!(
        "http://{address} is not ready: {status} {}",
        body.replace(char::is_control, " ")
    )))
}

/// Returns the address at which this machine reaches a server that listens on `bind`.
fn reachable(mut bind: SocketAddr) -> SocketAddr {
    match bind.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => bind.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => bind.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    bind
}

fn fetch(address: SocketAddr, timeout: Duration) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    let request =
        format!("GET /health/ready HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut response = Vec::new();
    stream.take(MAX_RESPONSE).read_to_end(&mut response)?;
    Ok(String::from_utf8_lossy(&response).into_owned())
}

/// Returns the status code and the body of a response.
fn parts(response: &str) -> Option<(&str, &str)> {
    let (head, body) = response.split_once("\r\n\r\n")?;
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
    fn unspecified_address_is_checked_on_loopback() {
        let reached = |bind: &str| reachable(bind.parse().unwrap()).to_string();
        assert_eq!(reached("0.0.0.0:8000"), "127.0.0.1:8000");
        assert_eq!(reached("[::]:8000"), "[::1]:8000");
        assert_eq!(reached("192.0.2.7:80"), "192.0.2.7:80");
    }

    #[test]
    fn response_that_is_not_http_is_refused() {
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
