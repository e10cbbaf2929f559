//! Which provider has which node of a session.

#![allow(unsafe_code)] // ONNX Runtime's C interface, for calls that `ort` does not wrap.

use std::ffi::{CStr, c_char};
use std::{ptr, slice};

use ort::session::Session as OrtSession;
use ort::{AsPointer, ortsys};

use crate::runtime::{Assignment, Node, Partition, ProviderKind};

/// Is the option of a session that was asked to remember.
pub(super) const OPTION: &str = "session.record_ep_graph_assignment_info";

/// Reads what a session with [`OPTION`] remembers.
pub(super) fn read(session: &OrtSession) -> Result<Assignment, ort::Error> {
    let mut parts = ptr::null();
    let mut count = 0;
    // SAFETY: the session lives, and the pointers lead to locals; what comes back belongs to the session.
    ortsys![unsafe Session_GetEpGraphAssignmentInfo(session.ptr(), &mut parts, &mut count)?];
    let mut partitions = Vec::with_capacity(count);
    for &part in listed(parts, count) {
        let mut provider = ptr::null();
        let (mut nodes, mut count) = (ptr::null(), 0);
        // SAFETY: the part belongs to the session, which lives.
        ortsys![unsafe EpAssignedSubgraph_GetEpName(part, &mut provider)?];
        // SAFETY: as above.
        ortsys![unsafe EpAssignedSubgraph_GetNodes(part, &mut nodes, &mut count)?];
        let mut told = Vec::with_capacity(count);
        for &node in listed(nodes, count) {
            let (mut name, mut domain, mut operator) = (ptr::null(), ptr::null(), ptr::null());
            // SAFETY: the node belongs to the session, which lives.
            ortsys![unsafe EpAssignedNode_GetName(node, &mut name)?];
            // SAFETY: as above.
            ortsys![unsafe EpAssignedNode_GetDomain(node, &mut domain)?];
            // SAFETY: as above.
            ortsys![unsafe EpAssignedNode_GetOperatorType(node, &mut operator)?];
            let (domain, operator) = (text(domain), text(operator));
            told.push(Node {
                name: text(name),
                operator: match domain.as_str() {
                    "" | "ai.onnx" => operator,
                    _ => format!("{domain}.{operator}"),
                },
            });
        }
        partitions.push(Partition {
            provider: our_name(&text(provider)),
            nodes: told,
        });
    }
    Ok(Assignment { partitions })
}

fn our_name(theirs: &str) -> String {
    ProviderKind::from_ep_name(theirs).map_or_else(|| theirs.to_owned(), |kind| kind.name().to_owned())
}

/// Views what ONNX Runtime lists.
fn listed<'a, T>(first: *const T, count: usize) -> &'a [T] {
    if first.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: ONNX Runtime says that so many lie there; they live as long as the session, which outlives this module's
    // only function.
    unsafe { slice::from_raw_parts(first, count) }
}

fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: ONNX Runtime's names end with NUL and live as long as the session.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}
