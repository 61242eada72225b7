//! A systemd of a test, over a real D-Bus connection, which is away the first time that it is asked anything.

use super::*;
use futures_util::TryStreamExt as _;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex as StdMutex};
use tokio::net::UnixListener;
use zbus::message::{Message, Type};
use zbus::{Connection, Guid, MessageStream, ObjectPath, connection};

const MANAGER: &str = "/org/freedesktop/systemd1";
const INTERFACE: &str = "org.freedesktop.systemd1.Manager";
/// The one unit that has no file.
const GONE: &str = "gone.service";
const WITHIN: Duration = Duration::from_secs(30);

/// What was asked once, and got no answer.
type Asked = Arc<StdMutex<HashSet<String>>>;

/// A service manager that leaves the bus whenever it is asked something new, as one does that executes itself anew.
fn often_away(folder: &Path) -> (Systemd, Asked) {
    let socket = folder.join("systemd");
    let listener = UnixListener::bind(&socket).unwrap();
    let asked = Asked::default();
    let seen = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let stream = stream.into_std().unwrap();
            let connection = connection::Builder::unix_stream(stream).server(Guid::generate()).p2p().build().await.unwrap();
            tokio::spawn(serve(connection, Arc::clone(&seen)));
        }
    });
    (Systemd::new(Bus::Socket(socket)), asked)
}

async fn serve(connection: Connection, asked: Asked) {
    let mut messages = MessageStream::from(&connection);
    while let Ok(Some(message)) = messages.try_next().await {
        if message.message_type() == Type::MethodCall {
            answer(&connection, &message, &asked).await.unwrap();
        }
    }
}

async fn answer(connection: &Connection, call: &Message, asked: &Asked) -> zbus::Result<()> {
    let header = call.header();
    let member = header.member().map(ToString::to_string).unwrap_or_default();
    let is_new = asked.lock().unwrap().insert(member.clone());
    if is_new {
        return connection
            .reply_error(&header, "org.freedesktop.DBus.Error.NoReply", &"Message recipient disconnected from message bus")
            .await;
    }
    let job = ObjectPath::try_from("/org/freedesktop/systemd1/job/7")?;
    let changes: Vec<(String, String, String)> = Vec::new();
    match member.as_str() {
        "GetUnit" | "LoadUnit" => connection.reply(&header, &ObjectPath::try_from("/org/freedesktop/systemd1/unit/web")?).await,
        "GetAll" => connection.reply(&header, &HashMap::from([("LoadState", Variant::from("loaded"))])).await,
        "Get" => connection.reply(&header, &Variant::from("252.1")).await,
        "ListUnitsByPatterns" => connection.reply(&header, &Vec::<bus::ListedUnit>::new()).await,
        "EnableUnitFiles" => connection.reply(&header, &(true, changes)).await,
        "DisableUnitFiles" if call.body().deserialize::<(Vec<String>, bool)>()?.0.iter().any(|unit| unit == GONE) => {
            connection.reply_error(&header, "org.freedesktop.systemd1.NoSuchUnit", &"Unit file gone.service does not exist.").await
        }
        "LinkUnitFiles" | "DisableUnitFiles" => connection.reply(&header, &changes).await,
        "StartUnit" | "StopUnit" | "RestartUnit" | "ReloadUnit" | "ReloadOrRestartUnit" | "StartTransientUnit" => {
            connection.reply(&header, &job).await?;
            connection.emit_signal(None::<&str>, MANAGER, INTERFACE, "JobRemoved", &(7_u32, job, "web.service", "done")).await
        }
        "Subscribe" | "ResetFailedUnit" | "Reload" => connection.reply(&header, &()).await,
        // There is no bus, and nobody has a name on it.
        _ => connection.reply_error(&header, "org.freedesktop.DBus.Error.UnknownMethod", &member).await,
    }
}

#[tokio::test]
async fn whatever_is_asked_outlasts_a_systemd_that_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let (systemd, asked) = often_away(folder.path());
    let (unit, file) = ("web.service", PathBuf::from("/etc/roadstead/units/web.service"));

    assert_eq!(systemd.version().await.unwrap(), 252);
    assert!(systemd.is_installed(unit).await.unwrap());
    asked.lock().unwrap().clear();
    assert_eq!(systemd.unit(unit).await.unwrap().load, "loaded");
    assert!(systemd.units("web*").await.unwrap().is_empty());
    systemd.start(unit, WITHIN).await.unwrap();
    systemd.restart(unit, WITHIN).await.unwrap();
    systemd.reload(unit, WITHIN).await.unwrap();
    systemd.reload_only(unit, WITHIN).await.unwrap();
    systemd.stop(unit, WITHIN).await.unwrap();
    asked.lock().unwrap().clear();
    systemd.ask_to_stop(unit).await.unwrap();
    systemd.reset_failed(unit).await.unwrap();
    systemd.daemon_reload().await.unwrap();
    systemd.link(&[&file]).await.unwrap();
    systemd.enable(&[&file]).await.unwrap();
    systemd.disable(&[unit]).await.unwrap();
}

#[tokio::test]
async fn a_unit_that_is_gone_keeps_no_other_from_being_disabled() {
    let folder = tempfile::tempdir().unwrap();
    let (systemd, _) = often_away(folder.path());
    systemd.disable(&["web.service", GONE, "worker.service"]).await.unwrap();
    systemd.disable(&[GONE]).await.unwrap();
}

#[test]
fn only_what_somebody_else_killed_counts_as_killed() {
    let state = |result: &str, code, status| UnitState { result: result.to_owned(), code, status, ..UnitState::default() };
    assert!(state("signal", 2, 9).was_killed());
    for other in [state("timeout", 2, 9), state("oom-kill", 2, 9), state("signal", 2, 11), state("exit-code", 1, 9), state("success", 0, 0)]
    {
        assert!(!other.was_killed(), "{other:?}");
    }
}

#[test]
fn how_a_unit_ended_is_told_with_its_signal_by_name_and_how_often_it_was_started_again() {
    let state = |sub: &str, result: &str, code, status, restarts| UnitState {
        active: "failed".to_owned(),
        sub: sub.to_owned(),
        result: result.to_owned(),
        code,
        status,
        restarts,
        ..UnitState::default()
    };
    assert_eq!(state("failed", "exit-code", 1, 3, 0).words(), "failed (failed, exit-code, exit status 3)");
    assert_eq!(state("failed", "signal", 2, 9, 1).words(), "failed (failed, signal, signal 9 (SIGKILL), started again once)");
    assert_eq!(state("failed", "core-dump", 3, 11, 5).words(), "failed (failed, core-dump, signal 11 (SIGSEGV), started again 5 times)");
    assert_eq!(state("dead", "success", 1, 0, 0).words(), "failed (dead)");
    assert_eq!(state("failed", "signal", 2, 99, 0).words(), "failed (failed, signal, signal 99)");
    assert_eq!(UnitState::default().words(), "not known to systemd");
}
