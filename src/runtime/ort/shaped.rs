use std::collections::BTreeMap;

use crate::runtime::{Assignment, Call, Error, Session, Value};
use crate::tensor::{Dim, Signature, Tensor};

/// How many sets of sizes get a session of their own: each has the weights on the device once more.
const MOST: usize = 6;
/// How many sets of sizes are remembered that came once.
const MOST_SEEN: usize = 16;

/// The size of every open dimension, by its symbol.
pub(super) type Sizes = BTreeMap<String, usize>;

/// Makes a session for inputs of these sizes alone.
pub(super) type Make = Box<dyn FnMut(&Sizes) -> Result<Box<dyn Session>, Error> + Send>;

/// Is a model whose graph can be recorded only once its sizes are fixed: some sizes get a session of their own, all others are
/// answered by one for any sizes.
pub(super) struct ShapedSession {
    any: Box<dyn Session>,
    make: Make,
    whose: Whose,
    /// `None` where no session could be made.
    fixed: Vec<(Sizes, Option<Box<dyn Session>>)>,
    seen: Vec<Sizes>,
}

/// Says which sizes get a session of their own, as long as there are not too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// Those that come.
    First,
    /// Those that come a second time.
    Second,
}

impl ShapedSession {
    /// Joins the session for any sizes with what makes those for fixed ones.
    pub(super) fn new(any: Box<dyn Session>, make: Make, whose: Whose) -> Self {
        ShapedSession {
            any,
            make,
            whose,
            fixed: Vec::new(),
            seen: Vec::new(),
        }
    }

    /// Gives the session that answers a call of these sizes.
    ///
    /// Errors: those of the first session that is made, so that whoever tries a model learns that its graph cannot be
    /// recorded. A later one may lack no more than memory, and the call is answered without it.
    fn session_for(&mut self, sizes: Option<Sizes>) -> Result<&mut Box<dyn Session>, Error> {
        let Some(sizes) = sizes else { return Ok(&mut self.any) };
        let at = match self.fixed.iter().position(|(fixed, _)| *fixed == sizes) {
            Some(at) => at,
            None if self.whose == Whose::Second && !self.seen.contains(&sizes) => {
                self.seen.truncate(MOST_SEEN - 1);
                self.seen.insert(0, sizes);
                return Ok(&mut self.any);
            }
            None if self.fixed.len() >= MOST => return Ok(&mut self.any),
            None => {
                let is_first = self.fixed.iter().all(|(_, session)| session.is_none());
                let made = match (self.make)(&sizes) {
                    Err(error) if is_first => return Err(error),
                    made => made.ok(),
                };
                self.fixed.push((sizes, made));
                self.fixed.len() - 1
            }
        };
        Ok(self.fixed[at].1.as_mut().unwrap_or(&mut self.any))
    }
}

impl Session for ShapedSession {
    fn signature(&self) -> &Signature {
        self.any.signature()
    }

    fn assignment(&self) -> Option<&Assignment> {
        self.any.assignment()
    }

    fn run(&mut self, call: Call<'_>) -> Result<Vec<Value>, Error> {
        let stays = call.keep_on_device.contains(&true);
        let tensors: Option<Vec<&Tensor>> = call.inputs.iter().map(Value::as_host).collect();
        let sizes = tensors
            .filter(|_| !stays)
            .and_then(|tensors| sizes(self.signature(), &tensors));
        self.session_for(sizes)?.run(call)
    }
}

/// Tells whether the sizes of the inputs say the size of every dimension: each that is open has a symbol, and one has.
pub(super) fn can_be_fixed(signature: &Signature) -> bool {
    let shapes: Option<Vec<&[Dim]>> = signature.inputs.iter().map(|port| port.shape.dims()).collect();
    let dims = || shapes.iter().flatten().copied().flatten();
    shapes.is_some()
        && dims().all(|dim| !matches!(dim, Dim::Unknown))
        && dims().any(|dim| matches!(dim, Dim::Symbol(_)))
}

/// Gives the size of each symbol; `None` where the inputs do not fit, which the session for any sizes tells best.
fn sizes(signature: &Signature, inputs: &[&Tensor]) -> Option<Sizes> {
    let mut sizes = Sizes::new();
    for (port, tensor) in signature.inputs.iter().zip(inputs) {
        if !port.shape.admits(tensor.shape()) || signature.inputs.len() != inputs.len() {
            return None;
        }
        for (dim, &size) in port.shape.dims()?.iter().zip(tensor.shape()) {
            let Dim::Symbol(name) = dim else { continue };
            if *sizes.entry(name.clone()).or_insert(size) != size {
                return None;
            }
        }
    }
    Some(sizes)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::runtime::Cancel;
    use crate::tensor::{DType, Port, Shape, TensorName};

    /// Answers with its own number.
    struct Numbered(f32, Signature);

    impl Session for Numbered {
        fn signature(&self) -> &Signature {
            &self.1
        }

        fn run(&mut self, _: Call<'_>) -> Result<Vec<Value>, Error> {
            Ok(vec![Tensor::from_vec([1], vec![self.0]).unwrap().into()])
        }
    }

    fn signature(dims: &[Dim]) -> Signature {
        let port = |name: &str| Port {
            name: TensorName::new(name),
            dtype: DType::F32,
            shape: Shape::of(dims.to_vec()),
        };
        Signature {
            inputs: vec![port("x"), port("y")],
            outputs: vec![port("z")],
        }
    }

    fn symbol(name: &str) -> Dim {
        Dim::Symbol(name.to_owned())
    }

    type Made = Arc<Mutex<Vec<Sizes>>>;

    /// Numbers the sessions for fixed sizes from 1 on; making those of the size `bad` fails.
    fn session(bad: usize) -> (ShapedSession, Made) {
        let signature = signature(&[symbol("n"), Dim::Fixed(1)]);
        let made = Made::default();
        let any = Box::new(Numbered(0.0, signature.clone()));
        let log = Arc::clone(&made);
        let make = move |sizes: &Sizes| {
            let mut log = log.lock().unwrap();
            log.push(sizes.clone());
            if sizes["n"] == bad {
                return Err(Error::Cancelled);
            }
            Ok(Box::new(Numbered(log.len() as f32, signature.clone())) as Box<dyn Session>)
        };
        (ShapedSession::new(any, Box::new(make), Whose::Second), made)
    }

    fn answer(session: &mut ShapedSession, sizes: [usize; 2], keep: &[bool]) -> Result<f32, Error> {
        let inputs = sizes.map(|size| Tensor::from_vec([size, 1], vec![0f32; size]).unwrap().into());
        let outputs = session.run(Call {
            inputs: &inputs,
            keep_on_device: keep,
            deadline: None,
            cancel: &Cancel::default(),
        })?;
        Ok(outputs[0].as_host().unwrap().elements::<f32>().unwrap()[0])
    }

    #[test]
    fn sizes_that_come_twice_get_a_session_of_their_own() {
        let (mut session, made) = session(0);
        let mut ask = |size| answer(&mut session, [size, size], &[]).unwrap();
        assert_eq!(
            [ask(3), ask(5), ask(3), ask(3), ask(5), ask(3)],
            [0.0, 0.0, 1.0, 1.0, 2.0, 1.0]
        );
        assert_eq!(made.lock().unwrap().len(), 2);
    }

    #[test]
    fn or_at_once_where_that_is_asked_for() {
        let (mut session, made) = session(0);
        session.whose = Whose::First;
        let mut ask = |size| answer(&mut session, [size, size], &[]).unwrap();
        assert_eq!([ask(3), ask(5), ask(3)], [1.0, 2.0, 1.0]);
        assert_eq!(made.lock().unwrap().len(), 2);
    }

    #[test]
    fn what_stays_on_the_device_and_what_does_not_fit_goes_to_the_session_for_any_sizes() {
        let (mut session, made) = session(0);
        for _ in 0..3 {
            assert_eq!(answer(&mut session, [3, 3], &[true]).unwrap(), 0.0);
            assert_eq!(answer(&mut session, [3, 4], &[]).unwrap(), 0.0);
        }
        assert!(made.lock().unwrap().is_empty());
    }

    #[test]
    fn there_are_never_more_sessions_than_the_most() {
        let (mut session, made) = session(0);
        for size in (1..40).chain(1..40).flat_map(|size| [size, size]) {
            answer(&mut session, [size, size], &[]).unwrap();
        }
        assert_eq!(made.lock().unwrap().len(), MOST);
    }

    #[test]
    fn the_first_failure_is_told_and_later_ones_cost_no_more_than_the_speed() {
        let (mut fails, _) = session(3);
        assert_eq!(answer(&mut fails, [3, 3], &[]).unwrap(), 0.0);
        assert!(answer(&mut fails, [3, 3], &[]).is_err());
        let (mut later, made) = session(3);
        let mut ask = |size| answer(&mut later, [size, size], &[]).unwrap();
        assert_eq!([ask(2), ask(2), ask(3), ask(3), ask(3)], [0.0, 1.0, 0.0, 0.0, 0.0]);
        assert_eq!(made.lock().unwrap().len(), 2, "what failed is not tried again");
    }

    #[test]
    fn only_models_whose_open_dimensions_all_have_names_can_be_fixed() {
        assert!(can_be_fixed(&signature(&[symbol("n"), Dim::Fixed(3)])));
        assert!(!can_be_fixed(&signature(&[Dim::Fixed(3)])), "nothing is open");
        assert!(!can_be_fixed(&signature(&[symbol("n"), Dim::Unknown])));
        let mut any_rank = signature(&[symbol("n")]);
        any_rank.inputs[0].shape = Shape(None);
        assert!(!can_be_fixed(&any_rank));
    }
}
