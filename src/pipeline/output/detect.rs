use crate::gpuxfile::{BoxOrder, Detect, DetectForm};
use crate::pipeline::{Answer, Error, Found, Frame};

use super::labels::Names;
use super::numbers::Numbers;

/// Finds things in a picture.
#[derive(Debug)]
pub(super) struct Detector {
    pub detect: Detect,
    /// The outputs of the scores and the classes, where they are apart from the boxes.
    pub beside: Option<(usize, usize)>,
}

/// Is a box that may be one of several around one thing.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    /// Left, top, right, bottom, in pixels of the input.
    sides: [f32; 4],
    class: usize,
    score: f32,
}

impl Detector {
    /// Reads the boxes, keeps the best of those around one thing, and takes them back to the picture as it was given.
    pub fn find(
        &self,
        boxes: Numbers,
        beside: Option<(Numbers, Numbers)>,
        frame: Option<Frame>,
        names: &Names,
    ) -> Result<Answer, Error> {
        let frame = frame.ok_or_else(|| Error::Missing("image".to_owned()))?;
        let candidates = match (&self.detect.form, beside) {
            (DetectForm::Ssd { order, .. }, Some((scores, classes))) => {
                self.ssd(&boxes, (&scores, &classes), *order, &frame)?
            }
            (DetectForm::YoloV5, _) => self.yolo(&boxes, true)?,
            _ => self.yolo(&boxes, false)?,
        };
        let kept = suppressed(candidates, &self.detect);
        let found = kept.into_iter().map(|candidate| {
            Ok(Found {
                label: names.label(candidate.class, candidate.score)?,
                sides: taken_back(candidate.sides, &frame),
            })
        });
        Ok(Answer::Boxes {
            width: frame.width,
            height: frame.height,
            boxes: found.collect::<Result<_, Error>>()?,
        })
    }

    /// Reads rows (version 5) or columns (version 8) of a center, a size and scores.
    fn yolo(&self, boxes: &Numbers, rows: bool) -> Result<Vec<Candidate>, Error> {
        let [first, second] = *boxes.shape.as_slice() else {
            return Err(boxes.misshapen("detect", "rows or columns of boxes"));
        };
        let (count, fields, start) = if rows { (first, second, 5) } else { (second, first, 4) };
        if fields <= start {
            return Err(boxes.misshapen("detect", "a score for at least one class beside each box"));
        }
        let at = |candidate: usize, field: usize| match rows {
            true => boxes.values[candidate * fields + field],
            false => boxes.values[field * count + candidate],
        };
        let least = self.detect.score as f32;
        let mut candidates = Vec::new();
        for candidate in 0..count {
            let objectness = if rows { at(candidate, 4) } else { 1.0 };
            // No class scores more than the box does.
            if objectness < least {
                continue;
            }
            let mut best = (0, f32::NEG_INFINITY);
            for class in 0..fields - start {
                let score = at(candidate, start + class);
                if score > best.1 {
                    best = (class, score);
                }
            }
            let score = best.1 * objectness;
            if score >= least {
                let [x, y, width, height] = std::array::from_fn(|field| at(candidate, field));
                candidates.push(Candidate {
                    sides: [x - width / 2.0, y - height / 2.0, x + width / 2.0, y + height / 2.0],
                    class: best.0,
                    score,
                });
            }
        }
        Ok(candidates)
    }

    /// Reads boxes in shares of the input's sides, with their scores and classes beside them.
    fn ssd(
        &self,
        boxes: &Numbers,
        (scores, classes): (&Numbers, &Numbers),
        order: BoxOrder,
        frame: &Frame,
    ) -> Result<Vec<Candidate>, Error> {
        let count = boxes.values.len() / 4;
        if boxes.shape.last() != Some(&4) || scores.values.len() != count || classes.values.len() != count {
            return Err(boxes.misshapen("detect", "four sides, a score and a class for each box"));
        }
        let (width, height) = (frame.input.0 as f32, frame.input.1 as f32);
        let least = self.detect.score as f32;
        let mut candidates = Vec::new();
        for (at, sides) in boxes.values.chunks_exact(4).enumerate() {
            let (score, class) = (scores.values[at], classes.values[at]);
            // What fills the list up has a score of nothing, and classes that are none.
            if score < least || score.is_nan() || class < 0.0 {
                continue;
            }
            let [left, top, right, bottom] = match order {
                BoxOrder::Xyxy => [sides[0], sides[1], sides[2], sides[3]],
                BoxOrder::Yxyx => [sides[1], sides[0], sides[3], sides[2]],
            };
            candidates.push(Candidate {
                sides: [left * width, top * height, right * width, bottom * height],
                class: class as usize,
                score,
            });
        }
        Ok(candidates)
    }
}

/// Goes through boxes from the best to the worst, and drops each that lies too much on a better one of its class.
fn suppressed(mut candidates: Vec<Candidate>, detect: &Detect) -> Vec<Candidate> {
    /// The most boxes that are compared with each other, which costs their square.
    const COMPARED: usize = 30_000;
    candidates.sort_by(|left, right| right.score.total_cmp(&left.score));
    candidates.truncate(COMPARED);
    let limit = usize::try_from(detect.limit).unwrap_or(usize::MAX);
    let mut kept: Vec<Candidate> = Vec::new();
    for candidate in candidates {
        if kept.len() == limit {
            break;
        }
        let is_covered = |better: &Candidate| {
            (better.class == candidate.class || !detect.per_class)
                && overlap(&better.sides, &candidate.sides) > detect.iou as f32
        };
        if !kept.iter().any(is_covered) {
            kept.push(candidate);
        }
    }
    kept
}

/// Gives the share of two boxes' union that their intersection is.
fn overlap(one: &[f32; 4], other: &[f32; 4]) -> f32 {
    let area = |sides: &[f32; 4]| (sides[2] - sides[0]).max(0.0) * (sides[3] - sides[1]).max(0.0);
    let shared = [
        one[0].max(other[0]),
        one[1].max(other[1]),
        one[2].min(other[2]),
        one[3].min(other[3]),
    ];
    let intersection = area(&shared);
    let union = area(one) + area(other) - intersection;
    if union > 0.0 { intersection / union } else { 0.0 }
}

/// Takes a box back to the picture as it was given, cut off at its sides.
fn taken_back(sides: [f32; 4], frame: &Frame) -> [f32; 4] {
    let corner = |x: f32, y: f32| {
        let (x, y) = frame.back(x.into(), y.into());
        let within = |value: f64, most: u32| value.clamp(0.0, most.into()) as f32;
        (within(x, frame.width), within(y, frame.height))
    };
    let (left, top) = corner(sides[0], sides[1]);
    let (right, bottom) = corner(sides[2], sides[3]);
    [left, top, right, bottom]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(left: f32, class: usize, score: f32) -> Candidate {
        Candidate {
            sides: [left, 0.0, left + 10.0, 10.0],
            class,
            score,
        }
    }

    #[test]
    fn of_boxes_around_one_thing_the_best_stays() {
        let mut detect = Detect {
            form: DetectForm::YoloV8,
            score: 0.0,
            iou: 0.5,
            limit: 10,
            per_class: true,
        };
        let all = vec![
            candidate(0.0, 0, 0.5),
            candidate(1.0, 0, 0.9),
            candidate(2.0, 1, 0.7),
            candidate(20.0, 0, 0.1),
        ];
        let scores = |detect: &Detect| -> Vec<f32> {
            suppressed(all.clone(), detect)
                .iter()
                .map(|candidate| candidate.score)
                .collect()
        };
        assert_eq!(scores(&detect), [0.9, 0.7, 0.1]);
        detect.per_class = false;
        assert_eq!(scores(&detect), [0.9, 0.1]);
        detect.limit = 1;
        assert_eq!(scores(&detect), [0.9]);
        assert_eq!(overlap(&[0.0; 4], &[0.0; 4]), 0.0);
    }
}
