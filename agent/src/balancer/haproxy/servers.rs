//! What HAProxy says of the servers of a backend: `show stat` (how many sessions there are) and `show servers state` (all the rest).

use std::collections::BTreeMap;

/// Bits of `srv_admin_state`: an admin set it, or it is so by a server that is tracked, or by the configuration.
const IN_MAINTENANCE: u32 = 0x01 | 0x02 | 0x04;
/// Drained by an admin, or by a server that is tracked.
const DRAINED: u32 = 0x08 | 0x10;

/// One server, as HAProxy sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Server {
    /// It would be sent requests if nobody had said otherwise: it is not checked, or its check passes.
    pub(crate) up: bool,
    /// An admin took it out.
    pub(crate) in_maintenance: bool,
    /// It gets no new sessions.
    pub(crate) drained: bool,
    /// The weight that is in effect.
    pub(crate) weight: u32,
    /// The weight by the configuration.
    pub(crate) full_weight: u32,
    /// Sessions with the server, and those that wait for it.
    pub(crate) in_flight: u32,
}

/// HAProxy said something else than was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{command} answers what cannot be read: {what}")]
pub(crate) struct Nonsense {
    command: &'static str,
    what: String,
}

/// The servers of a backend by name, from both answers.
pub(crate) fn read(backend: &str, stat: &str, state: &str) -> Result<BTreeMap<String, Server>, Nonsense> {
    let in_flight = sessions(backend, stat)?;
    let mut servers = states(backend, state)?;
    for (name, server) in &mut servers {
        let lacks = || Nonsense { command: "show stat", what: format!("the server {:?} is not in it", shown(name)) };
        server.in_flight = in_flight.get(name).copied().ok_or_else(lacks)?;
    }
    Ok(servers)
}

/// Sessions of each server: comma-separated, under a line of names.
fn sessions(backend: &str, text: &str) -> Result<BTreeMap<String, u32>, Nonsense> {
    let wrong = |what: String| Nonsense { command: "show stat", what };
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let header = lines.next().and_then(|line| line.strip_prefix("# ")).ok_or_else(|| wrong(first_line(text)))?;
    let names: Vec<&str> = header.split(',').collect();
    let column = |name: &str| names.iter().position(|known| *known == name).ok_or_else(|| wrong(format!("it has no column {name}")));
    let (proxy, server, queued, current) = (column("pxname")?, column("svname")?, column("qcur")?, column("scur")?);
    let mut found = BTreeMap::new();
    for line in lines {
        let fields = fields(line);
        let field = |at: usize| fields.get(at).map(String::as_str).ok_or_else(|| wrong(format!("a line is cut: {:?}", shown(line))));
        let name = field(server)?;
        if field(proxy)? != backend || name == "BACKEND" || name == "FRONTEND" {
            continue;
        }
        let number = |text: &str| match text {
            "" => Ok(0),
            text => text.parse::<u32>().map_err(|_| wrong(format!("{:?} is no number", shown(text)))),
        };
        let count = number(field(current)?)?.saturating_add(number(field(queued)?)?);
        if found.insert(name.to_owned(), count).is_some() {
            return Err(wrong(format!("the server {:?} is in it twice", shown(name))));
        }
    }
    Ok(found)
}

/// The state of each server: separated by blanks, under the version of the form and a line of names.
fn states(backend: &str, text: &str) -> Result<BTreeMap<String, Server>, Nonsense> {
    let wrong = |what: String| Nonsense { command: "show servers state", what };
    let mut lines = text.lines().filter(|line| !line.trim().is_empty()).skip_while(|line| !line.starts_with("# "));
    let header = lines.next().and_then(|line| line.strip_prefix("# ")).ok_or_else(|| wrong(first_line(text)))?;
    let names: Vec<&str> = header.split_whitespace().collect();
    let column = |name: &str| names.iter().position(|known| *known == name).ok_or_else(|| wrong(format!("it has no column {name}")));
    let (proxy, name, operation) = (column("be_name")?, column("srv_name")?, column("srv_op_state")?);
    let (admin, weight, full_weight) = (column("srv_admin_state")?, column("srv_uweight")?, column("srv_iweight")?);
    let mut found = BTreeMap::new();
    for line in lines {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let field = |at: usize| fields.get(at).copied().ok_or_else(|| wrong(format!("a line is cut: {:?}", shown(line))));
        let number =
            |at: usize| field(at)?.parse::<u32>().map_err(|_| wrong(format!("{:?} is no number", shown(field(at).unwrap_or_default()))));
        if field(proxy)? != backend {
            continue;
        }
        let admin = number(admin)?;
        let server = Server {
            up: number(operation)? != 0,
            in_maintenance: admin & IN_MAINTENANCE != 0,
            drained: admin & DRAINED != 0,
            weight: number(weight)?,
            full_weight: number(full_weight)?,
            in_flight: 0,
        };
        let server_name = field(name)?;
        if found.insert(server_name.to_owned(), server).is_some() {
            return Err(wrong(format!("the server {:?} is in it twice", shown(server_name))));
        }
    }
    Ok(found)
}

/// Fields of a line; one with a comma or a quote in it stands in quotes, quotes within it twice.
fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    fields.push(field);
    fields
}

fn first_line(text: &str) -> String {
    format!("{:?}", shown(text.lines().next().unwrap_or_default()))
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests;
