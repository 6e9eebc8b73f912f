//! What Redis says of itself.

/// The lines of `INFO` that matter.
pub(super) struct Server {
    /// Which memory it is: another after a restart, and another after a fail-over.
    pub memory: String,
    /// The policy by which it throws keys away, if it does.
    pub evicts: Option<String>,
}

impl Server {
    pub(super) fn parse(info: &str) -> Self {
        let field = |name: &str| {
            info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim).unwrap_or_default()
        };
        let limited = field("maxmemory") != "0";
        let policy = field("maxmemory_policy");
        Self {
            memory: format!("{} {}", field("run_id"), field("master_replid")),
            evicts: (limited && !["", "noeviction"].contains(&policy)).then(|| policy.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Server;

    const INFO: &str = "# Server\r\nrun_id:a1\r\n# Memory\r\nmaxmemory:1024\r\nmaxmemory_human:1.00K\r\n\
        maxmemory_policy:volatile-lru\r\n# Replication\r\nmaster_replid:b2\r\n";

    #[test]
    fn the_lines_of_info_are_read() {
        let server = Server::parse(INFO);
        assert_eq!((server.memory.as_str(), server.evicts.as_deref()), ("a1 b2", Some("volatile-lru")));
    }

    #[test]
    fn without_a_limit_or_with_noeviction_nothing_is_thrown_away() {
        assert_eq!(Server::parse(&INFO.replace(":1024", ":0")).evicts, None);
        assert_eq!(Server::parse(&INFO.replace("volatile-lru", "noeviction")).evicts, None);
        assert_eq!(Server::parse("").evicts, None);
    }
}
