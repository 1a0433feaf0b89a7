//! The session that docs/session.md shows: which commands, where, and what is masked of their output because it is another
//! each time.

use super::proof::Place;

/// A command and its output.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    /// What it is for, in the page's words.
    pub what: &'static str,
    /// As a person types it.
    pub command: &'static str,
    /// Where.
    pub place: Place,
    /// How it goes.
    pub course: Course,
}

/// How a command goes.
#[derive(Clone, Copy, Debug)]
pub enum Course {
    /// It prints something and ends with this code.
    Ends(i32),
    /// It draws on a terminal of so many columns and rows. These keys are pressed, and then the one that ends it.
    Draws((u16, u16), &'static str),
}

impl Scene {
    /// What stands before the command.
    pub fn prompt(&self) -> &'static str {
        match self.place {
            Place::Admin => "admin$",
            Place::Node => "node#",
            Place::Client => "client#",
        }
    }
}

/// In this order: what changes something comes last.
pub const SCENES: &[Scene] = &[
    Scene {
        what: "A Service of both families has its addresses, and a node for them.",
        command: "kubectl get service web",
        place: Place::Admin,
        course: Course::Ends(0),
    },
    Scene {
        what: "Which node announces which Service:",
        command: "kubectl get l2status -n metallb-system",
        place: Place::Admin,
        course: Course::Ends(0),
    },
    Scene {
        what: "The same as the agents say it, and how they answer:",
        command: "barelb status",
        place: Place::Admin,
        course: Course::Ends(0),
    },
    Scene {
        what: "The same live, on a terminal. `s` has been pressed until the rows are in the order of their addresses.",
        command: "barelb top",
        place: Place::Admin,
        course: Course::Draws((140, 7), "sss"),
    },
    Scene {
        what: "Why that one, and who comes next:",
        command: "barelb explain svc default/web",
        place: Place::Admin,
        course: Course::Ends(0),
    },
    Scene {
        what: "How the nodes hear each other, as they say themselves. The numbers are masked: they are others each time.",
        command: "barelb status --peers",
        place: Place::Admin,
        course: Course::Ends(0),
    },
    Scene {
        what: "A client asks by IPv6, as its kernel would. The answer comes from the program in the node's receive path:",
        command: "ndisc6 2001:db8::100 eth0",
        place: Place::Client,
        course: Course::Ends(0),
    },
    Scene {
        what: "And it fetches a page. The web server says who it is:",
        command: "curl -sS http://192.0.2.100/",
        place: Place::Client,
        course: Course::Ends(0),
    },
    Scene {
        what: "Somebody wants to have the first addresses of the pool for something else.",
        command: "cat smaller-pool.yaml",
        place: Place::Admin,
        course: Course::Ends(0),
    },
    Scene {
        what: "Who would lose what? Nothing is changed by asking, and the exit code is 1, as that of `kubectl diff` would be.",
        command: "barelb plan -f smaller-pool.yaml",
        place: Place::Admin,
        course: Course::Ends(1),
    },
    Scene {
        what: "One node goes into maintenance. It hands over what it has, and says to whom:",
        command: "barelb drain node-b",
        place: Place::Admin,
        course: Course::Ends(0),
    },
    Scene {
        what: "What keeps it from owning is said now:",
        command: "barelb explain ip 192.0.2.100",
        place: Place::Admin,
        course: Course::Ends(0),
    },
    Scene {
        what: "And back.",
        command: "barelb drain node-b --undo",
        place: Place::Admin,
        course: Course::Ends(0),
    },
];

/// A file that the session knows, and what is in it.
pub const FILE: (&str, &str) = (
    "smaller-pool.yaml",
    "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata:\n  name: first-pool\n  namespace: metallb-system\n\
     spec:\n  addresses:\n  - 192.0.2.104-192.0.2.109\n  - 2001:db8::104-2001:db8::109\n",
);

/// The beginning of the page.
pub fn head() -> &'static str {
    "# A session\n\nRecorded by a test (`lb-test/tests/cluster_session.rs`), which fails when a command says something else: a cluster of \
     three\nnodes, with a real API server, and a client. What differs from one time to the next is masked by `*`.\n"
}

/// The same text with a star in the place of what is another one next time, and columns as wide as that makes them.
pub fn masked(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let paragraphs = lines.split(|line| line.trim().is_empty()).map(|paragraph| table(paragraph).join(""));
    paragraphs.collect::<Vec<_>>().join("\n")
}

/// The lines of a paragraph, each with its end.
fn table(paragraph: &[&str]) -> Vec<String> {
    let mut rows: Vec<Vec<String>> = paragraph.iter().map(|line| cells(line)).collect();
    let head = rows.first().cloned().unwrap_or_default();
    for row in rows.iter_mut().skip(1) {
        for (cell, _) in row.iter_mut().zip(&head).filter(|(_, name)| VOLATILE.contains(&name.as_str())) {
            "*".clone_into(cell);
        }
    }
    let width = |column: usize| {
        // What comes last in its line makes no column.
        let cells = rows.iter().filter(|row| row.len() > column + 1).map(|row| row[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let line = |row: &Vec<String>| {
        let padded = |(column, cell): (usize, &String)| format!("{cell:<width$}", width = width(column));
        row.iter().enumerate().map(padded).collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// What two blanks or more separate. The first cell keeps its indentation.
fn cells(line: &str) -> Vec<String> {
    let text = line.trim_start();
    // By whom, where and how often: whoever asked while the cluster came up, and how long that took.
    if text.starts_with("last asked ") && text.contains(", as ") {
        let blanks = &line[..line.len() - text.len()];
        return vec![format!("{blanks}last asked * ago by * (*), as * counts it: * requests")];
    }
    // How much is asked, at the end of what `barelb top` says of all.
    if let Some((before, _)) = text.rsplit_once("; ").filter(|(_, rate)| rate.ends_with(" requests/s")) {
        return vec![format!("{before}; * requests/s")];
    }
    let cells = text.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
    let mut cells: Vec<String> =
        cells.map(|cell| cell.split(' ').map(mask).collect::<Vec<_>>().join(" ")).collect();
    if let Some(first) = cells.first_mut() {
        first.insert_str(0, &line[..line.len() - text.len()]);
    }
    cells
}

/// Columns with counts, times, and addresses that the API server chooses.
const VOLATILE: [&str; 13] = [
    "AGE",
    "BY",
    "CLUSTER-IP",
    "DOWNS",
    "INTERVAL",
    "LAST ASKED",
    "LOST",
    "MAC",
    "REQUESTS",
    "REQUESTS/S",
    "ROUND TRIP",
    "SENT",
    "SINCE",
];

/// What is chosen by chance beside them: ports of nodes, the ends of names, and for how long something is so.
fn mask(word: &str) -> String {
    let is_number = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    if word.strip_suffix(['s', 'm', 'h']).is_some_and(is_number) {
        return "*".to_owned();
    }
    let port = word.split_once(':').and_then(|(port, rest)| Some((port, rest.split_once('/')?)));
    if let Some((port, (_, protocol))) = port.filter(|(port, (node, _))| is_number(port) && is_number(node)) {
        return format!("{port}:*/{protocol}");
    }
    if word.len() == "l2-xxxxx".len() && word.starts_with("l2-") {
        "l2-*".to_owned()
    } else {
        word.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_another_one_next_time_is_masked_and_columns_stay_columns() {
        let text = "NODE    SENT    ROUND TRIP\nnode-a  123456  0.25ms\n\n2001:db8::100\n  web  80:31184/TCP  l2-n2lkt\n  0    192.0.2.100\n";
        let expected = "NODE    SENT  ROUND TRIP\nnode-a  *     *\n\n2001:db8::100\n  web  80:*/TCP  l2-*\n  0    192.0.2.100\n";
        assert_eq!(masked(text), expected);
        let text =
            "2 addresses, 2 answered; 3 of 3 agents say so; 1.5 requests/s\n\nBY          A\n192.0.2.10  b\n";
        let expected = "2 addresses, 2 answered; 3 of 3 agents say so; * requests/s\n\nBY  A\n*   b\n";
        assert_eq!(masked(text), expected);
        let text = "  last asked 2s ago by 192.0.2.10 (02:00:00:00:00:0a), as node-a counts it: 61 requests\n  web  5m\n";
        let expected = "  last asked * ago by * (*), as * counts it: * requests\n  web  *\n";
        assert_eq!(masked(text), expected);
    }
}
