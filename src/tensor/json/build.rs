//! Elements and lists as they come, checked against a port.

use super::error::{Error, Found, ShapeFault};
use super::scan::Scanner;
use crate::tensor::cast::Cast;
use crate::tensor::{CastError, Dim, IndexPath, MAX_RANK, Port, Tensor};

/// Says that reading stops, and why; boxed, for it is passed along for every element.
pub(super) struct Stop(pub(super) Box<Error>);

/// Collects the elements of one tensor from a walk over nested lists.
pub(super) struct Builder<'p, T> {
    port: &'p Port,
    elements: Vec<T>,
    /// For each open list, the index of the value that comes next.
    at: Vec<usize>,
    /// How many lists deep the elements lie, once that is known.
    rank: Option<usize>,
    /// The length of the lists in each dimension, once one was closed.
    sizes: Vec<Option<usize>>,
}

impl<'p, T: Cast> Builder<'p, T> {
    /// Starts with room for the elements that the port declares, at most `bound`.
    pub(super) fn new(port: &'p Port, bound: usize) -> Self {
        let dims = port.shape.dims();
        let declared = dims.and_then(|dims| {
            dims.iter().try_fold(1u64, |product, dim| match dim {
                Dim::Fixed(size) => product.checked_mul(*size),
                Dim::Symbol(_) | Dim::Unknown => Some(product),
            })
        });
        let room = declared.map_or(0, |count| usize::try_from(count).unwrap_or(bound).min(bound));
        Builder {
            port,
            elements: Vec::with_capacity(room),
            at: Vec::new(),
            rank: dims.map(<[Dim]>::len),
            sizes: vec![None; dims.map_or(0, <[Dim]>::len)],
        }
    }

    /// Counts elements that are kept elsewhere.
    pub(super) fn count(&mut self, elements: usize) -> Result<(), Stop> {
        if elements > 0 && self.rank != Some(self.at.len()) {
            self.settle_rank(Found::Number)?;
        }
        if let Some(index) = self.at.last_mut() {
            *index += elements;
        }
        Ok(())
    }

    #[cold]
    fn settle_rank(&mut self, found: Found) -> Result<(), Stop> {
        match self.rank {
            None => {
                self.rank = Some(self.at.len());
                Ok(())
            }
            Some(rank) => Err(self.stop(ShapeFault::TooShallow { rank, found })),
        }
    }

    /// Makes the tensor.
    pub(super) fn finish(mut self) -> Result<Tensor, Error> {
        let mut shape = Vec::with_capacity(self.sizes.len());
        for axis in 0..self.sizes.len() {
            // Below an empty list nothing was seen; the port may still tell.
            let size = self.sizes[axis].or_else(|| match self.port.shape.dims()?.get(axis)? {
                Dim::Fixed(size) => usize::try_from(*size).ok(),
                Dim::Symbol(_) | Dim::Unknown => None,
            });
            match size {
                Some(size) => shape.push(size),
                None => return Err(self.shape_error(ShapeFault::Open { axis })),
            }
        }
        let mut elements = std::mem::take(&mut self.elements);
        // The room was made for what the port declares, which for an empty list is too much.
        elements.shrink_to_fit();
        Tensor::from_vec(shape, elements).map_err(|source| Error::Tensor {
            name: self.port.name.clone(),
            source,
        })
    }

    /// Makes the tensor of elements that were kept elsewhere.
    pub(super) fn finish_with(mut self, elements: Vec<T>) -> Result<Tensor, Error> {
        self.elements = elements;
        self.finish()
    }

    /// Tells whether a list is open.
    pub(super) fn is_open(&self) -> bool {
        !self.at.is_empty()
    }

    /// Gives the place of the value that comes next.
    pub(super) fn place(&self) -> IndexPath {
        IndexPath(self.at.clone())
    }

    #[cold]
    fn stop(&self, fault: ShapeFault) -> Stop {
        Stop(Box::new(self.shape_error(fault)))
    }

    #[cold]
    fn stop_at_value(&self, source: CastError) -> Stop {
        Stop(Box::new(Error::Value {
            name: self.port.name.clone(),
            path: self.place(),
            source: Box::new(source),
        }))
    }

    fn shape_error(&self, fault: ShapeFault) -> Error {
        Error::Shape {
            port: Box::new(self.port.clone()),
            path: self.place(),
            fault,
        }
    }
}

/// Takes what a text of nested lists holds, in its order.
pub(super) trait Sink<T> {
    /// Says why reading stops.
    type Stop;
    /// Lets `fill` append elements where elements may come next.
    fn row(&mut self, fill: impl FnOnce(&mut Vec<T>));
    /// Takes one element.
    fn push(&mut self, found: Found, element: Result<T, CastError>) -> Result<(), Self::Stop>;
    /// Enters a list.
    fn open(&mut self) -> Result<(), Self::Stop>;
    /// Leaves the innermost list.
    fn close(&mut self) -> Result<(), Self::Stop>;
    /// Refuses what is never an element.
    fn refuse(&self, found: Found) -> Self::Stop;
    /// Tells whether a list is open, behind a value.
    fn goes_on(&self, scanner: &Scanner<'_>) -> bool;
    /// Tells, where a value would come, that the text was cut there.
    fn is_cut(&self, scanner: &Scanner<'_>) -> bool;
}

impl<T: Cast> Sink<T> for Builder<'_, T> {
    type Stop = Stop;

    #[inline]
    fn row(&mut self, fill: impl FnOnce(&mut Vec<T>)) {
        if self.rank == Some(self.at.len())
            && let Some(index) = self.at.last_mut()
        {
            let before = self.elements.len();
            fill(&mut self.elements);
            *index += self.elements.len() - before;
        }
    }

    #[inline]
    fn push(&mut self, found: Found, element: Result<T, CastError>) -> Result<(), Stop> {
        if self.rank != Some(self.at.len()) {
            self.settle_rank(found)?;
        }
        match element {
            Ok(element) => self.elements.push(element),
            Err(source) => return Err(self.stop_at_value(source)),
        }
        if let Some(index) = self.at.last_mut() {
            *index += 1;
        }
        Ok(())
    }

    fn open(&mut self) -> Result<(), Stop> {
        if let Some(rank) = self.rank
            && self.at.len() >= rank
        {
            return Err(self.stop(ShapeFault::TooDeep { rank }));
        }
        if self.at.len() == MAX_RANK {
            return Err(self.stop(ShapeFault::Nesting));
        }
        self.at.push(0);
        if self.sizes.len() < self.at.len() {
            self.sizes.push(None);
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Stop> {
        let found = self.at.pop().unwrap_or_default();
        let axis = self.at.len();
        if let Some(Dim::Fixed(expected)) = self.port.shape.dims().and_then(|dims| dims.get(axis))
            && *expected != found as u64
        {
            let expected = *expected;
            return Err(self.stop(ShapeFault::Length { axis, expected, found }));
        }
        match self.sizes[axis] {
            None => self.sizes[axis] = Some(found),
            Some(expected) if expected == found => {}
            Some(expected) => return Err(self.stop(ShapeFault::Ragged { axis, expected, found })),
        }
        if found == 0 && self.rank.is_none() {
            self.rank = Some(axis + 1);
        }
        if let Some(index) = self.at.last_mut() {
            *index += 1;
        }
        Ok(())
    }

    fn refuse(&self, found: Found) -> Stop {
        self.stop(ShapeFault::NoElement(found))
    }

    #[inline]
    fn goes_on(&self, _: &Scanner<'_>) -> bool {
        self.is_open()
    }

    #[inline]
    fn is_cut(&self, _: &Scanner<'_>) -> bool {
        false
    }
}
