//! Things that keep coming: live messages and a camera's pictures.

use std::sync::Arc;

use iotpi_core::{
    client::{FrameStream, LiveStream},
    model::event::LiveMessage,
};
use pyo3::prelude::*;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::{
    failure::Failure,
    pending::{Answer, Pending},
};

pub enum Source {
    Live(Box<LiveStream>),
    Frames(Box<FrameStream>),
}

impl Source {
    async fn next(&mut self) -> Result<Answer, Failure> {
        match self {
            Self::Live(live) => match live.next().await? {
                None => Ok(Answer::Nothing),
                Some(LiveMessage::Problem { problem }) => Err(Box::new(problem).into()),
                Some(message) => Answer::json(&message),
            },
            Self::Frames(frames) => Ok(frames.next().await?.map_or(Answer::Nothing, Answer::Bytes)),
        }
    }
}

/// An open line on which things keep coming.
#[pyclass(module = "iotpi._iotpi", frozen)]
pub struct Stream {
    source: Arc<Mutex<Option<Source>>>,
    closed: CancellationToken,
}

impl Stream {
    pub fn new(source: Source) -> Self {
        Self { source: Arc::new(Mutex::new(Some(source))), closed: CancellationToken::new() }
    }
}

#[pymethods]
impl Stream {
    /// The next thing; `None` when the hub ended the stream or it was closed.
    fn next(&self) -> Pending {
        let (source, closed) = (self.source.clone(), self.closed.clone());
        Pending::new(async move {
            let mut source = source.lock().await;
            let next = async {
                match source.as_mut() {
                    Some(open) => open.next().await,
                    None => Ok(Answer::Nothing),
                }
            };
            let next = closed.run_until_cancelled(next).await.unwrap_or(Ok(Answer::Nothing));
            if matches!(next, Ok(Answer::Nothing)) {
                *source = None;
            }
            next
        })
    }

    /// Hangs up; a `next` that waits elsewhere returns `None`.
    fn close(&self) {
        self.closed.cancel();
        if let Ok(mut source) = self.source.try_lock() {
            *source = None;
        }
    }
}
