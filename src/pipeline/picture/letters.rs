use super::raster::Raster;

/// The size of a letter, in its own dots.
const WIDTH: usize = 5;
const HEIGHT: usize = 7;
/// The dots around a letter.
const GAP: usize = 1;

/// Letters of five by seven dots: seven rows from the top, the leftmost dot of each in bit 4. Small letters look like
/// capitals, and what is not among them like a filled box.
#[rustfmt::skip]
const LETTERS: [(char, [u8; HEIGHT]); 49] = [
    ('A', [14, 17, 17, 31, 17, 17, 17]),
    ('B', [30, 17, 17, 30, 17, 17, 30]),
    ('C', [14, 17, 16, 16, 16, 17, 14]),
    ('D', [28, 18, 17, 17, 17, 18, 28]),
    ('E', [31, 16, 16, 30, 16, 16, 31]),
    ('F', [31, 16, 16, 30, 16, 16, 16]),
    ('G', [14, 17, 16, 23, 17, 17, 15]),
    ('H', [17, 17, 17, 31, 17, 17, 17]),
    ('I', [14, 4, 4, 4, 4, 4, 14]),
    ('J', [7, 2, 2, 2, 2, 18, 12]),
    ('K', [17, 18, 20, 24, 20, 18, 17]),
    ('L', [16, 16, 16, 16, 16, 16, 31]),
    ('M', [17, 27, 21, 21, 17, 17, 17]),
    ('N', [17, 25, 21, 19, 17, 17, 17]),
    ('O', [14, 17, 17, 17, 17, 17, 14]),
    ('P', [30, 17, 17, 30, 16, 16, 16]),
    ('Q', [14, 17, 17, 17, 21, 18, 13]),
    ('R', [30, 17, 17, 30, 20, 18, 17]),
    ('S', [15, 16, 16, 14, 1, 1, 30]),
    ('T', [31, 4, 4, 4, 4, 4, 4]),
    ('U', [17, 17, 17, 17, 17, 17, 14]),
    ('V', [17, 17, 17, 17, 17, 10, 4]),
    ('W', [17, 17, 17, 21, 21, 27, 17]),
    ('X', [17, 17, 10, 4, 10, 17, 17]),
    ('Y', [17, 17, 10, 4, 4, 4, 4]),
    ('Z', [31, 1, 2, 4, 8, 16, 31]),
    ('0', [14, 17, 19, 21, 25, 17, 14]),
    ('1', [4, 12, 4, 4, 4, 4, 14]),
    ('2', [14, 17, 1, 2, 4, 8, 31]),
    ('3', [31, 2, 4, 2, 1, 17, 14]),
    ('4', [2, 6, 10, 18, 31, 2, 2]),
    ('5', [31, 16, 30, 1, 1, 17, 14]),
    ('6', [6, 8, 16, 30, 17, 17, 14]),
    ('7', [31, 1, 2, 4, 8, 8, 8]),
    ('8', [14, 17, 17, 14, 17, 17, 14]),
    ('9', [14, 17, 17, 15, 1, 2, 12]),
    ('.', [0, 0, 0, 0, 0, 12, 12]),
    (',', [0, 0, 0, 0, 12, 4, 8]),
    ('-', [0, 0, 0, 31, 0, 0, 0]),
    ('_', [0, 0, 0, 0, 0, 0, 31]),
    ('\'', [4, 4, 8, 0, 0, 0, 0]),
    ('/', [1, 2, 2, 4, 8, 8, 16]),
    ('%', [25, 26, 2, 4, 8, 11, 19]),
    ('(', [2, 4, 8, 8, 8, 4, 2]),
    (')', [8, 4, 2, 2, 2, 4, 8]),
    ('+', [0, 4, 4, 31, 4, 4, 0]),
    (':', [0, 12, 12, 0, 12, 12, 0]),
    ('&', [12, 18, 20, 8, 21, 18, 13]),
    ('#', [10, 10, 31, 10, 31, 10, 10]),
];

fn rows(letter: char) -> [u8; HEIGHT] {
    let letter = letter.to_ascii_uppercase();
    if letter == ' ' {
        return [0; HEIGHT];
    }
    let found = LETTERS.iter().find(|(known, _)| *known == letter);
    found.map_or([31; HEIGHT], |(_, rows)| *rows)
}

/// Writes a line on a plate of its own colour, its upper left corner at `corner`, as large as suits the picture and moved so
/// that it lies inside; what is too long for the picture ends at its edge.
pub fn write(raster: &mut Raster, text: &str, (left, top): (usize, usize), plate: [u8; 3]) {
    let (width, height) = (raster.width as usize, raster.height as usize);
    let dot = (width.min(height) / 240).max(1);
    let letters: Vec<char> = text.chars().collect();
    let (across, down) = (letters.len() * (WIDTH + GAP) + GAP, HEIGHT + 2 * GAP);
    let left = left.min(width.saturating_sub(across * dot));
    let top = top.min(height.saturating_sub(down * dot));
    let light: u32 = plate.iter().map(|&value| u32::from(value)).sum();
    let ink = if light > 3 * 128 { [0; 3] } else { [255; 3] };
    for y in top..(top + down * dot).min(height) {
        for x in left..(left + across * dot).min(width) {
            let (column, row) = ((x - left) / dot, (y - top) / dot);
            let color = if is_ink(&letters, column, row) { ink } else { plate };
            let at = (y * width + x) * 3;
            raster.data[at..at + 3].copy_from_slice(&color);
        }
    }
}

/// Tells whether a dot of a line belongs to a letter.
fn is_ink(letters: &[char], column: usize, row: usize) -> bool {
    let (Some(column), Some(row)) = (column.checked_sub(GAP), row.checked_sub(GAP)) else {
        return false;
    };
    let (at, within) = (column / (WIDTH + GAP), column % (WIDTH + GAP));
    match letters.get(at) {
        Some(&letter) if within < WIDTH && row < HEIGHT => rows(letter)[row] >> (WIDTH - 1 - within) & 1 == 1,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes on a grey picture and gives it as lines: `#` ink, `.` plate, ` ` the picture.
    fn written(text: &str, corner: (usize, usize), (width, height): (u32, u32)) -> Vec<String> {
        let mut raster = Raster {
            width,
            height,
            channels: 3,
            data: vec![100; (width * height * 3) as usize],
        };
        write(&mut raster, text, corner, [255, 255, 0]);
        let rows = raster.data.chunks(3 * width as usize);
        let dot = |pixel: &[u8]| match pixel {
            [0, 0, 0] => '#',
            [255, 255, 0] => '.',
            _ => ' ',
        };
        rows.map(|row| row.chunks(3).map(dot).collect()).collect()
    }

    #[test]
    fn letters_stand_on_a_plate() {
        let expected = [
            " .............",
            " .#...#...#...",
            " .#...#..##...",
            " .#...#...#...",
            " .#####...#...",
            " .#...#...#...",
            " .#...#...#...",
            " .#...#..###..",
            " .............",
            "              ",
        ];
        assert_eq!(written("h1", (1, 0), (14, 10)), expected);
    }

    #[test]
    fn what_would_leave_the_picture_is_moved_or_cut() {
        let moved = written("I", (100, 100), (9, 10));
        assert_eq!(moved[9], "  .......");
        assert_eq!(moved[2], "  ..###..", "{moved:?}");
        assert_eq!(written("A very long line", (0, 0), (6, 4)).len(), 4);
        assert!(written("\u{1f600}", (0, 0), (20, 20))[1].starts_with(".#####."));
        assert_eq!(written("", (3, 3), (5, 5)).concat().matches('#').count(), 0);
    }
}
