//! The batches behind the one that is stored: the next is decoded and put into columns meanwhile, and
//! the one after it read.
//!
//! What of a batch is stored already is asked, and it is begun in the journal, only when the one
//! before is settled: so there is nothing to take back if that one fails or is taken apart.

use crate::keeper::{Limits, Made, Maker};
use bus::{BatchLimits, Block, Blocks};
use std::mem;
use std::sync::Arc;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

/// Blocks that are stored and acknowledged together.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) blocks: Arc<[Block]>,
    /// Their cuts, if they were made ahead.
    pub(crate) made: Option<Made>,
}

impl Batch {
    /// Blocks of which no cuts are made yet.
    pub(crate) fn new(blocks: Vec<Block>) -> Self {
        Self { blocks: Arc::from(blocks), made: None }
    }

    /// Bytes of the blocks.
    pub(crate) fn bytes(&self) -> usize {
        self.blocks.iter().map(|block| block.payload.len()).sum()
    }
}

/// The batches that were there before the last was stored, two at most.
#[derive(Debug)]
pub(crate) struct Ahead {
    /// Away only while the blocking thread has it.
    maker: Option<Maker>,
    next: Next,
    /// What was read behind the next.
    behind: Option<Arc<[Block]>>,
}

#[derive(Debug)]
enum Next {
    Nothing,
    Read(Arc<[Block]>),
    Making { blocks: Arc<[Block]>, making: JoinHandle<(Maker, Made)> },
}

impl Ahead {
    /// Nothing is ahead; cuts are made by this one.
    pub(crate) const fn new(maker: Maker) -> Self {
        Self { maker: Some(maker), next: Next::Nothing, behind: None }
    }

    /// Whether no more may be read.
    pub(crate) const fn is_full(&self) -> bool {
        self.behind.is_some()
    }

    /// Takes in a batch that was read.
    pub(crate) fn read(&mut self, blocks: Vec<Block>) {
        let blocks: Arc<[Block]> = Arc::from(blocks);
        match self.next {
            Next::Nothing => self.next = Next::Read(blocks),
            Next::Read(_) | Next::Making { .. } => self.behind = Some(blocks),
        }
    }

    /// Has the cuts of the next batch made on a blocking thread, within these limits.
    pub(crate) fn make(&mut self, limits: Limits) {
        let Next::Read(blocks) = &self.next else { return };
        let Some(mut maker) = self.maker.take() else { return };
        let (blocks, given) = (Arc::clone(blocks), Arc::clone(blocks));
        let making = spawn_blocking(move || {
            let made = maker.make(&given, limits, None);
            (maker, made)
        });
        self.next = Next::Making { blocks, making };
    }

    /// Takes the batch that is next, once its cuts are made if that was begun; `None` if there is
    /// none. Cancel-safe.
    pub(crate) async fn take(&mut self) -> Result<Option<Batch>, JoinError> {
        let made = match &mut self.next {
            Next::Making { making, .. } => {
                let (maker, made) = making.await?;
                self.maker = Some(maker);
                Some(made)
            }
            Next::Nothing | Next::Read(_) => None,
        };
        let behind = self.behind.take().map_or(Next::Nothing, Next::Read);
        Ok(match mem::replace(&mut self.next, behind) {
            Next::Nothing => None,
            Next::Read(blocks) | Next::Making { blocks, .. } => Some(Batch { blocks, made }),
        })
    }

    /// Takes the batch that is next, or reads one. Cancel-safe.
    pub(crate) async fn next(
        &mut self,
        blocks: &mut Blocks,
        limits: &BatchLimits,
    ) -> Result<Batch, JoinError> {
        match self.take().await? {
            Some(batch) => Ok(batch),
            None => Ok(Batch::new(blocks.next_batch(limits).await)),
        }
    }
}
