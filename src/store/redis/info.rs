//! What Redis says of itself.

/// The lines of `INFO` that matter.
pub(super) struct Server {
    /// Whether it is a node of a cluster.
    pub cluster: bool,
    /// Which memory it is: another after a restart, a fail-over, and after something was thrown away.
    pub memory: String,
    /// The policy by which it throws keys away, if it does.
    pub evicts: Option<String>,
    /// Whether it copies another server, and takes no writes.
    pub replica: bool,
    /// Which process it is.
    pub run_id: String,
}

impl Server {
    pub(super) fn parse(info: &str) -> Self {
        let field = |name: &str| {
            info.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(str::trim)
                .unwrap_or_default()
        };
        let limited = field("maxmemory") != "0";
        let policy = field("maxmemory_policy");
        Self {
            cluster: field("cluster_enabled") == "1",
            memory: format!(
                "{} {} {}",
                field("run_id"),
                field("master_replid"),
                field("evicted_keys")
            ),
            evicts: (limited && !["", "noeviction"].contains(&policy)).then(|| policy.to_owned()),
            replica: field("role") == "slave",
            run_id: field("run_id").to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Server;

    const INFO: &str = "# Server\r\nrun_id:a1\r\n# Memory\r\nmaxmemory:1024\r\nmaxmemory_human:1.00K\r\n\
        maxmemory_policy:volatile-lru\r\n# Stats\r\nevicted_keys:7\r\n# Replication\r\nrole:master\r\n\
        master_replid:b2\r\n# Cluster\r\ncluster_enabled:0\r\n";

    #[test]
    fn the_lines_of_info_are_read() {
        let server = Server::parse(INFO);
        assert_eq!(
            (server.memory.as_str(), server.evicts.as_deref()),
            ("a1 b2 7", Some("volatile-lru"))
        );
        assert_eq!(server.run_id, "a1");
        assert!(!server.cluster && !server.replica);
        assert!(Server::parse(&INFO.replace("enabled:0", "enabled:1")).cluster);
        assert!(Server::parse(&INFO.replace("role:master", "role:slave")).replica);
    }

    #[test]
    fn without_a_limit_or_with_noeviction_nothing_is_thrown_away() {
        assert_eq!(Server::parse(&INFO.replace(":1024", ":0")).evicts, None);
        assert_eq!(
            Server::parse(&INFO.replace("volatile-lru", "noeviction")).evicts,
            None
        );
        assert_eq!(Server::parse("").evicts, None);
    }
}
