//! What a sink answers.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tonic::Code;

/// An answer to one request, over gRPC or HTTP.
#[derive(Debug, Clone, Default)]
pub enum Answer {
    /// Success: the request counts.
    #[default]
    Ok,
    /// Success, but this many spans were rejected. With 0 it is a warning.
    Partial {
        /// How many spans upstream did not take.
        rejected: i64,
        /// Why.
        message: &'static str,
    },
    /// An error; nothing of the request counts.
    Refuse {
        /// The code of gRPC.
        code: Code,
        /// The status of HTTP.
        status: u16,
        /// `RetryInfo`, or `Retry-After` in whole seconds.
        retry: Option<Duration>,
    },
    /// Success after some time.
    Late(Duration),
    /// Success when somebody opens the gate.
    Held(Gate),
    /// The connection breaks off without an answer.
    Disconnect,
    /// No answer, ever.
    Silence,
}

/// What answers may be held at. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Semaphore>);

impl Gate {
    /// A gate that is shut.
    pub fn shut() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Lets all pass, now and later.
    pub fn open(&self) {
        self.0.close();
    }

    pub(super) async fn passed(&self) {
        // There is no permit: it ends when the gate is opened.
        let _ = self.0.acquire().await;
    }
}

impl Answer {
    /// UNAVAILABLE or 503, without a delay to wait.
    pub const UNAVAILABLE: Self = Self::Refuse { code: Code::Unavailable, status: 503, retry: None };

    /// `INVALID_ARGUMENT` or 400: never to be retried.
    pub const INVALID: Self = Self::Refuse { code: Code::InvalidArgument, status: 400, retry: None };

    /// UNAVAILABLE or 503, to be tried again after this time.
    pub const fn unavailable_for(time: Duration) -> Self {
        Self::Refuse { code: Code::Unavailable, status: 503, retry: Some(time) }
    }
}
