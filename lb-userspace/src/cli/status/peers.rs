//! What the agents have said, and what to print of it.

use serde::Serialize;

use crate::agent::sessions::PeerReport;
use crate::cli::ask::{Unasked, warnings};
use crate::cli::sessions;
use crate::cli::table::{lines, plain};

/// All of it, as `-o json` prints it.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// What each agent says.
    pub(super) nodes: Vec<NodePeers>,
    /// Those that have not said it.
    pub(super) unasked: Vec<Unasked>,
}

/// What an agent says.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodePeers {
    pub(super) pod: String,
    #[serde(flatten)]
    pub(super) said: PeerReport,
}

impl Report {
    /// A row for each session; nothing where there is none.
    pub(super) fn table(&self, wide: bool) -> String {
        let last: &[&str] = if wide { &["POD"] } else { &[] };
        let headers = [&["NODE"], &sessions::headers(wide)[..], last].concat();
        let mut table = plain(&headers);
        for node in &self.nodes {
            for session in &node.said.sessions {
                let pod = wide.then(|| node.pod.clone());
                let cells = [node.said.node.clone()].into_iter().chain(sessions::cells(session, wide));
                table.add_row(cells.chain(pod));
            }
        }
        if table.is_empty() { String::new() } else { lines(&table) + "\n" }
    }

    /// What is wrong, with the nodes of which it is true.
    pub(super) fn warnings(&self) -> Vec<(String, String)> {
        let idle = self.nodes.iter().filter(|node| node.said.sessions.is_empty());
        let idle = idle.map(|node| (node.said.node.as_str(), NO_SESSIONS));
        warnings(self.unasked.iter().map(Unasked::warning).chain(idle))
    }

    /// The nodes that have said something.
    pub(super) fn names(&self) -> String {
        self.nodes.iter().flat_map(|node| ["node/", node.said.node.as_str(), "\n"]).collect()
    }
}

/// Nothing is wrong with that where there is nothing to announce.
const NO_SESSIONS: &str = "no other node is watched: nodes watch each other on the interfaces on which addresses are \
     announced, if both have addresses on one network there; `kubectl get l2advertisement,nodes -A` shows what there is";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::agent::sessions::{SessionState, Watching};

    fn node(name: &str, sessions: Vec<SessionState>) -> NodePeers {
        let said =
            PeerReport { version: "0.1.0".into(), node: name.into(), watching: Watching::On, sessions };
        NodePeers { pod: format!("agent-of-{name}"), said }
    }

    fn unasked(node: &str, why: &str) -> Unasked {
        Unasked { node: node.into(), pod: format!("agent-of-{node}"), why: why.into() }
    }

    fn report() -> Report {
        Report {
            nodes: vec![node("node-a", sessions::tests::sessions().to_vec()), node("node-d", Vec::new())],
            unasked: vec![unasked("node-b", "away"), unasked("node-c", "old"), unasked("node-e", "old")],
        }
    }

    #[test]
    fn each_session_of_each_node_is_a_row() {
        let expected = "\
NODE    INTERFACE  PEER    STATUS   INTERVAL          SENT    LOST           DOWNS  ROUND TRIP
node-a  eth0       node-b  up       10ms              360000  12 (<0.01%)    0      213µs
node-a  eth0       node-c  relayed  24ms (stretched)  700     684 (100.00%)  1      -
";
        assert_eq!(report().table(false), expected);
        let wide = report().table(true);
        let rows: Vec<_> = wide.lines().collect();
        assert!(rows[0].ends_with("LONGEST  POD") && rows[1].ends_with("12.5ms   agent-of-node-a"), "{wide}");
        assert_eq!(Report::default().table(false), "");
    }

    #[test]
    fn nodes_of_which_the_same_is_wrong_are_one_warning() {
        let warnings = report().warnings();
        let expected = [("node-b", "away"), ("node-d", NO_SESSIONS), ("node-c, node-e", "old")];
        assert_eq!(warnings, expected.map(|(nodes, why)| (nodes.to_owned(), why.to_owned())));
    }

    #[test]
    fn programs_get_what_the_agents_say() {
        let shown = serde_json::to_value(report()).unwrap();
        assert_eq!(shown["nodes"][0]["node"], "node-a");
        assert_eq!(shown["nodes"][0]["pod"], "agent-of-node-a");
        assert_eq!(shown["nodes"][0]["watching"], "on");
        assert_eq!(shown["nodes"][0]["sessions"][1]["profileIntervalUs"], 10_000);
        assert_eq!(shown["unasked"][0], json!({"node": "node-b", "pod": "agent-of-node-b", "why": "away"}));
    }
}
