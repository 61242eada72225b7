//! The writer: one task owns the one connection that writes. Changes that wait are committed together, with one sync of the
//! disk; each is answered when it is durable, and one that fails leaves the others alone.

use futures_util::future::BoxFuture;
use sqlx::{Executor as _, QueryBuilder, Sqlite, SqliteConnection};
use tokio::sync::{mpsc, oneshot, watch};

use super::events::{Chain, EventRecord};
use super::{NewEvent, Store, StoreError, signed};

/// Changes that wait; whoever asks for one more waits with it.
const QUEUE: usize = 4096;
/// Changes of one commit.
const JOBS_MAX: usize = 1024;
/// Rows of one insert: eight values each, of which SQLite takes 32,766.
const ROWS_MAX: usize = 1000;

type Tell = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
type Job = Box<dyn for<'a> FnOnce(&'a mut Batch) -> BoxFuture<'a, (bool, Tell)> + Send>;

enum Request {
    Job(Job),
    Stop(oneshot::Sender<()>),
}

/// The way to the writer's task.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    requests: mpsc::Sender<Request>,
    newest: watch::Receiver<u64>,
}

/// The open transaction.
#[derive(Debug)]
pub(super) struct Batch {
    connection: SqliteConnection,
    chain: Chain,
    fresh: Vec<EventRecord>,
    /// Whether the job that runs has a savepoint to go back to. One that only adds to the history needs none.
    marked: bool,
}

impl Batch {
    /// The connection, for a job that reads or writes more than the history.
    pub(super) async fn connection(&mut self) -> Result<&mut SqliteConnection, StoreError> {
        if !self.marked {
            self.connection.execute("SAVEPOINT job").await?;
            self.marked = true;
        }
        Ok(&mut self.connection)
    }

    /// Adds a line to the history. It is there when the change is, or not at all.
    pub(super) fn tell(&mut self, event: NewEvent) {
        self.fresh.push(self.chain.link(event));
    }
}

impl Store {
    /// Makes a change. `work` may read and write; when it fails, nothing of it stays.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a mut Batch) -> BoxFuture<'a, Result<T, StoreError>> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |batch| {
            Box::pin(async move {
                let result = work(batch).await;
                let good = result.is_ok();
                let tell: Tell = Box::new(move |committed| {
                    // Whoever asked may have gone.
                    drop(answer.send(result.and_then(|value| committed.map(|()| value))));
                });
                (good, tell)
            })
        });
        self.writer.requests.send(Request::Job(job)).await.map_err(|_| StoreError::Stopping)?;
        // A change that was dropped without an answer was never begun.
        answered.await.map_err(|_| StoreError::Database { path: "roadstead.db".into(), why: "it takes no change now".to_owned() })?
    }
}

impl Writer {
    /// Starts the task on a connection of its own.
    pub(super) async fn start(mut connection: SqliteConnection) -> Result<Self, StoreError> {
        let chain = Chain::load(&mut connection).await?;
        let (tell_newest, newest) = watch::channel(chain.sequence());
        let (requests, queue) = mpsc::channel(QUEUE);
        tokio::spawn(run(Batch { connection, chain, fresh: Vec::new(), marked: false }, queue, tell_newest));
        Ok(Self { requests, newest })
    }

    pub(super) fn newest_event(&self) -> watch::Receiver<u64> {
        self.newest.clone()
    }

    /// Ends the task when what was asked for before is durable.
    pub(super) async fn stop(&self) {
        let (done, ended) = oneshot::channel();
        if self.requests.send(Request::Stop(done)).await.is_ok() {
            drop(ended.await);
        }
    }
}

async fn run(mut batch: Batch, mut queue: mpsc::Receiver<Request>, newest: watch::Sender<u64>) {
    let mut requests = Vec::new();
    while queue.recv_many(&mut requests, JOBS_MAX).await > 0 {
        let mut jobs = Vec::with_capacity(requests.len());
        let mut stop = None;
        for request in requests.drain(..) {
            match request {
                Request::Job(job) => jobs.push(job),
                Request::Stop(done) => stop = Some(done),
            }
        }
        commit_together(&mut batch, jobs).await;
        newest.send_replace(batch.chain.sequence());
        if let Some(done) = stop {
            let _gone: Result<(), ()> = done.send(());
            return;
        }
    }
}

async fn commit_together(batch: &mut Batch, jobs: Vec<Job>) {
    let before = batch.chain.clone();
    let mut tells = Vec::with_capacity(jobs.len());
    let committed = match batch.connection.execute("BEGIN IMMEDIATE").await {
        Ok(_) => {
            let ran = run_jobs(batch, jobs, &mut tells).await;
            match ran {
                Ok(()) => commit(batch).await,
                Err(error) => Err(error),
            }
        }
        Err(error) => {
            // Nobody is answered by hand: the askers see their answer's sender go, and are told that nothing happened.
            tracing::error!(%error, "the database takes no change");
            return;
        }
    };
    batch.fresh.clear();
    if let Err(error) = &committed {
        tracing::error!(%error, "a change of the database failed");
        batch.chain = before;
        if let Err(error) = batch.connection.execute("ROLLBACK").await {
            tracing::debug!(%error, "there was no transaction any more");
        }
    }
    for tell in tells {
        tell(committed.clone());
    }
}

async fn run_jobs(batch: &mut Batch, jobs: Vec<Job>, tells: &mut Vec<Tell>) -> Result<(), StoreError> {
    for job in jobs {
        let (chain, fresh) = (batch.chain.clone(), batch.fresh.len());
        let (good, tell) = job(batch).await;
        tells.push(tell);
        if !good {
            batch.chain = chain;
            batch.fresh.truncate(fresh);
        }
        if std::mem::take(&mut batch.marked) {
            let end = if good { "RELEASE job" } else { "ROLLBACK TO job; RELEASE job" };
            batch.connection.execute(end).await?;
        }
    }
    Ok(())
}

async fn commit(batch: &mut Batch) -> Result<(), StoreError> {
    for rows in batch.fresh.chunks(ROWS_MAX) {
        let mut insert = QueryBuilder::<Sqlite>::new("INSERT INTO events (sequence, at, actor, kind, subject, rollout, text, hash) ");
        insert.push_values(rows, |mut row, event| {
            row.push_bind(signed(event.sequence))
                .push_bind(signed(event.at.0))
                .push_bind(&event.actor)
                .push_bind(&event.kind)
                .push_bind(&event.subject)
                .push_bind(signed(event.rollout))
                .push_bind(&event.text)
                .push_bind(event.hash.as_bytes().as_slice());
        });
        insert.build().execute(&mut batch.connection).await?;
    }
    batch.connection.execute("COMMIT").await?;
    Ok(())
}
