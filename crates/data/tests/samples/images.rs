//! Images: decoding, resize and crop against Pillow, tensors against numpy, damaged files.

use std::fs;
use std::io::Write;
use std::path::Path;

use calipers_data::samples::{
    BatchRule, ChannelOrder, Crop, Element, Filter, InputQuantization, Kind, Layout, OpenOptions,
    Preprocessing, PreprocessingOverrides, Resize, Samples, Scale, open,
};
use serde_json::Value;

use crate::{assert_says, input, opened, refusal, testdata};

fn pair(value: &Value) -> Option<[usize; 2]> {
    serde_json::from_value(value.clone()).ok()
}

#[test]
fn decode_resize_and_crop_are_those_of_pillow() {
    let cases = fs::read_to_string(testdata().join("cases.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&cases).unwrap();
    assert_eq!(cases.len(), 23);
    for (number, case) in cases.iter().enumerate() {
        let expected = image::open(testdata().join(format!("expected/{number:02}.png"))).unwrap();
        let gray = case["channels"] == "gray";
        let (height, width) = (expected.height() as usize, expected.width() as usize);
        let expected = if gray { expected.into_luma8().into_raw() } else { expected.into_rgb8().into_raw() };

        let resize = match (pair(&case["resize"]), case["resize"].as_u64()) {
            (Some([height, width]), _) => Resize::Exact { height, width },
            (None, Some(side)) => Resize::ShorterSide(side as usize),
            (None, None) => Resize::None,
        };
        let options = OpenOptions {
            overrides: PreprocessingOverrides {
                resize: Some(resize),
                crop: pair(&case["crop"]).map(|[height, width]| Some(Crop { height, width })),
                filter: Some(if case["filter"] == "nearest" { Filter::Nearest } else { Filter::Bilinear }),
                layout: Some(Layout::Nhwc),
                ..Default::default()
            },
            ..Default::default()
        };
        let name = case["image"].as_str().unwrap();
        let model = input("x", Element::U8, &[0, height, width, if gray { 1 } else { 3 }]);
        let opened = open(&testdata().join("images").join(name), &[model], &options).unwrap();
        assert_eq!(opened.kind, Kind::ImageFile);
        let found = &opened.samples.batch(&[0]).unwrap()[0].bytes;

        assert_eq!(found.len(), expected.len(), "{case}");
        let differences = || found.iter().zip(&expected).map(|(&a, &b)| a.abs_diff(b));
        let largest = differences().max().unwrap();
        let mean = differences().map(f64::from).sum::<f64>() / expected.len() as f64;
        // Decoders of JPEG differ in how they round and in how they bring colours of half the
        // resolution to the full one; all that follows is exact.
        let (most, most_in_mean) = match name {
            "full.jpg" | "gray.jpg" => (3, 0.3),
            "halved.jpg" => (6, 0.6),
            _ => (0, 0.0),
        };
        println!("{number} {largest} {mean}");
        assert!(largest <= most && mean <= most_in_mean, "{largest} and {mean} in mean: {case}");
    }
}
