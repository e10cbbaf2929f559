#![allow(unsafe_code)] // The one longer life that rten's loader asks for, whose reason stands beside it.

use bytes::Bytes;

/// Keeps bytes for a model that looks into them where they lie.
///
/// Whoever owns both drops the model first.
#[derive(Default)]
pub(super) struct Lasting(Vec<Bytes>);

impl Lasting {
    /// Keeps bytes, and lends them for as long as rten asks: forever.
    pub fn keep(&mut self, bytes: Bytes) -> &'static [u8] {
        let slice: *const [u8] = &*bytes;
        self.0.push(bytes);
        // SAFETY: the bytes neither move nor end before this owner does. The only holder of the slice is the session's
        // model, which the session drops before this owner; values that leave a session are copies.
        unsafe { &*slice }
    }
}
