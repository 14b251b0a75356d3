//! Images: decoding, resize and crop against Pillow, tensors against numpy, damaged files.

use std::fs;
use std::io::Write;
use std::path::Path;

use calipers_data::samples::{
    BatchRule, ChannelOrder, CifarSplit, Crop, Element, Extent, Filter, InputQuantization, Kind, Layout,
    ModelInput, OpenOptions, Preprocessing, PreprocessingOverrides, Resize, Scale, batches, open, subset,
};
use serde_json::Value;

use crate::{assert_says, input, opened, refusal, testdata};

const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const DEVIATION: [f32; 3] = [0.229, 0.224, 0.225];

fn with(overrides: PreprocessingOverrides) -> OpenOptions {
    OpenOptions { overrides, ..Default::default() }
}

/// A grayscale PNG of one colour.
fn plain(path: &Path, width: u32, height: u32, value: u8) {
    image::GrayImage::from_pixel(width, height, image::Luma([value])).save(path).unwrap();
}

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
        assert!(largest <= most && mean <= most_in_mean, "{largest} and {mean} in mean: {case}");
    }
}

#[test]
fn tensors_are_those_of_numpy() {
    let image = testdata().join("images/dot.png");
    let expected = testdata().join("arrays/tensors.npz");
    let normalized = PreprocessingOverrides {
        mean: Some(MEAN.to_vec()),
        deviation: Some(DEVIATION.to_vec()),
        ..Default::default()
    };
    let bgr = PreprocessingOverrides {
        channels: Some(ChannelOrder::Bgr),
        scale: Some(Scale::Raw),
        mean: Some(vec![127.5]),
        deviation: Some(vec![127.5]),
        ..Default::default()
    };
    let mut quantized = input("quantized_nhwc", Element::I8, &[0, 2, 2, 3]);
    quantized.quantization = Some(InputQuantization { scale: 0.0187, zero_point: -14 });
    let cases = [
        (input("rgb_nchw", Element::F32, &[0, 3, 2, 2]), normalized.clone()),
        (input("bgr_nhwc", Element::F16, &[0, 2, 2, 3]), bgr),
        (input("raw_nhwc", Element::U8, &[0, 2, 2, 3]), PreprocessingOverrides::default()),
        (quantized, normalized),
    ];
    let inputs: Vec<ModelInput> = cases.iter().map(|(input, _)| input.clone()).collect();
    let expected = opened(&expected, &inputs).samples.batch(&[0]).unwrap();
    for ((input, overrides), expected) in cases.into_iter().zip(expected) {
        let opened = open(&image, &[input], &with(overrides)).unwrap();
        assert_eq!(opened.samples.batch(&[0]).unwrap(), [expected]);
    }
}

#[test]
fn the_default_follows_from_the_shape_alone() {
    let of = |element, shape: &[usize]| Preprocessing::for_input(&input("x", element, shape)).unwrap();
    let large = Preprocessing {
        resize: Resize::ShorterSide(256),
        filter: Filter::Bilinear,
        crop: Some(Crop { height: 224, width: 224 }),
        channels: ChannelOrder::Rgb,
        scale: Scale::Unit,
        mean: MEAN.to_vec(),
        deviation: DEVIATION.to_vec(),
        layout: Layout::Nchw,
        element: Element::F32,
    };
    assert_eq!(of(Element::F32, &[0, 3, 224, 224]), large);
    assert_eq!(
        of(Element::F16, &[224, 224, 3]),
        Preprocessing { layout: Layout::Nhwc, element: Element::F16, ..large.clone() }
    );
    // torchvision resizes to 342 for the 299 pixels of Inception.
    assert_eq!(of(Element::F32, &[1, 3, 299, 299]).resize, Resize::ShorterSide(342));
    let small = Preprocessing {
        resize: Resize::Exact { height: 32, width: 32 },
        crop: None,
        mean: vec![0.0; 3],
        deviation: vec![1.0; 3],
        ..large.clone()
    };
    assert_eq!(of(Element::F32, &[0, 3, 32, 32]), small);
    let gray = of(Element::F32, &[0, 28, 28, 1]);
    assert_eq!((gray.channels, gray.layout, gray.mean.len()), (ChannelOrder::Gray, Layout::Nhwc, 1));
    let raw = of(Element::U8, &[0, 224, 224, 3]);
    assert_eq!((raw.scale, raw.resize, raw.mean), (Scale::Raw, large.resize, vec![0.0; 3]));

    // Kept in a recipe, it comes back the same.
    let text = serde_json::to_string(&large).unwrap();
    assert!(
        text.starts_with(r#"{"resize":{"shorter_side":256},"filter":"bilinear","crop":{"height":224,"#),
        "{text}"
    );
    assert_eq!(serde_json::from_str::<Preprocessing>(&text).unwrap(), large);
    assert!(serde_json::from_str::<Preprocessing>(&text.replace("crop", "cut")).is_err());

    // For a model of the same network in another format, only what the format decides changes.
    let adapted = large.adapted_to(&input("y", Element::F16, &[0, 224, 224, 3])).unwrap();
    assert_eq!(adapted, Preprocessing { layout: Layout::Nhwc, element: Element::F16, ..large });
}

#[test]
fn settings_that_cannot_be_met_are_refused() {
    let image = testdata().join("images/wide.png");
    let model = input("x", Element::F32, &[0, 3, 32, 32]);
    let none = PreprocessingOverrides::default;
    let crop = |height, width| Some(Some(Crop { height, width }));
    for (overrides, parts) in [
        (
            PreprocessingOverrides { crop: crop(16, 16), ..none() },
            ["the size after resize and crop is 16 x 16", "32 x 32"],
        ),
        (
            PreprocessingOverrides { resize: Some(Resize::ShorterSide(0)), ..none() },
            ["the size of the resize is 0", "1 to 8192"],
        ),
        (
            PreprocessingOverrides { channels: Some(ChannelOrder::Gray), ..none() },
            ["the number of channels is 1", "3, as the model's input"],
        ),
        (
            PreprocessingOverrides { mean: Some(vec![0.5; 2]), ..none() },
            ["the number of means is 2", "3, one for each channel"],
        ),
        (
            PreprocessingOverrides { deviation: Some(vec![0.0]), ..none() },
            ["deviation of channel 0 is 0", "above zero"],
        ),
        (
            PreprocessingOverrides { layout: Some(Layout::Nhwc), ..none() },
            ["the layout is Nhwc", "Nchw, as the model's input"],
        ),
    ] {
        let error = open(&image, std::slice::from_ref(&model), &with(overrides)).unwrap_err();
        assert_says(&error.to_string(), &parts);
    }
    for (inputs, parts) in [
        (vec![input("x", Element::F32, &[0, 4, 32, 32])], ["x: f32 [?, 4, 32, 32]", "1 or 3 channels"]),
        (vec![input("x", Element::F32, &[0, 10])], ["x: f32 [?, 10]", "[N, channels, height, width]"]),
        (vec![input("x", Element::I64, &[0, 3, 32, 32])], ["x: i64", "for images"]),
        (vec![input("x", Element::I8, &[0, 3, 32, 32])], ["which is not quantized", "for images"]),
        (vec![input("x", Element::F32, &[0, 3, 0, 0])], ["left open by the model's input", "to be given"]),
        (vec![input("x", Element::F32, &[0, 3, 99_999, 9])], ["is 99999", "1 to 8192"]),
        (vec![model.clone(), model.clone()], ["images for a model with 2 inputs", ".npz"]),
    ] {
        assert_says(&refusal(&image, &inputs), &parts);
    }
    let raw = with(PreprocessingOverrides { mean: Some(vec![0.5]), ..none() });
    let error = open(&image, &[input("x", Element::U8, &[0, 32, 32, 3])], &raw).unwrap_err();
    assert_says(&error.to_string(), &["the pixels is scaled or normalized", "for an integer input"]);

    // What the shape leaves open can be given; a resize without crop gets the model's.
    let size = PreprocessingOverrides {
        size: Some(Crop { height: 20, width: 24 }),
        resize: Some(Resize::ShorterSide(30)),
        ..none()
    };
    let given = open(&image, &[input("x", Element::F32, &[0, 3, 0, 0])], &with(size)).unwrap();
    assert_eq!(given.samples.inputs()[0].shape, [3, 20, 24]);
    assert_eq!(given.preprocessing.unwrap().crop, Some(Crop { height: 20, width: 24 }));
}

#[test]
fn folders_of_classes_give_labels_in_sorted_order() {
    let folder = tempfile::tempdir().unwrap();
    for (class, files) in [("dog", &["b.png", "a.PNG"][..]), ("ant", &["z.png"]), ("cat", &["k.png"])] {
        fs::create_dir(folder.path().join(class)).unwrap();
        for (value, file) in files.iter().enumerate() {
            plain(&folder.path().join(class).join(file), 4, 4, value as u8);
        }
    }
    fs::write(folder.path().join("cat/notes.txt"), "soft").unwrap();
    fs::write(folder.path().join("cat/.hidden"), "").unwrap();
    let model = [input("x", Element::U8, &[0, 1, 4, 4])];
    let data = opened(folder.path(), &model);
    assert_eq!(data.kind, Kind::ClassFolders);
    let samples = data.samples.as_ref();
    assert_eq!(samples.labels(), Some(&[0, 1, 2, 2][..]));
    assert_eq!(samples.class_names().unwrap(), ["ant", "cat", "dog"]);
    assert!(samples.sample_name(2).ends_with("a.PNG"), "{}", samples.sample_name(2));
    assert_says(&data.notes.join(""), &["left aside as no images: 1", "notes.txt"]);

    // The classes take turns.
    let order = subset(samples, 9, 3).unwrap();
    assert_eq!(order.len(), 4);
    let labels: Vec<u32> = order.iter().map(|&index| samples.labels().unwrap()[index]).collect();
    let mut first = labels[..3].to_vec();
    first.sort_unstable();
    assert_eq!((first, labels[3]), (vec![0, 1, 2], 2));
    assert_eq!(subset(samples, 2, 3).unwrap(), order[..2]);
    assert!(subset(samples, 0, 3).is_err());

    // The classes of the model may be more, and in another order.
    let classes = ["dog", "bee", "cat", "ant"].map(str::to_owned).to_vec();
    let options = OpenOptions { classes: Some(classes), ..Default::default() };
    let named = open(folder.path(), &model, &options).unwrap();
    assert_eq!(named.samples.labels(), Some(&[3, 2, 0, 0][..]));
    let options = OpenOptions { classes: Some(vec!["ant".to_owned()]), ..Default::default() };
    let error = open(folder.path(), &model, &options).unwrap_err().to_string();
    assert_says(&error, &["cat: is not among the 1 class names"]);

    fs::create_dir(folder.path().join("bee")).unwrap();
    assert_says(
        &refusal(folder.path(), &model),
        &["bee: the folder of a class has no image", "hint: add images"],
    );
    fs::create_dir(folder.path().join("ant/young")).unwrap();
    assert_says(&refusal(folder.path(), &model), &["young: is a folder within the folder of a class"]);

    let above = tempfile::tempdir().unwrap();
    fs::create_dir_all(above.path().join("train/ant")).unwrap();
    plain(&above.path().join("train/ant/a.png"), 4, 4, 0);
    assert_says(&refusal(above.path(), &model), &["hint: give the folder that holds the classes"]);
}

#[test]
fn files_that_cannot_be_decoded_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let sound = fs::read(testdata().join("images/wide.png")).unwrap();
    let photo = fs::read(testdata().join("images/full.jpg")).unwrap();
    // A header that claims 65,535 x 65,535 pixels, checksum included.
    let mut absurd = sound[..33].to_vec();
    absurd[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
    let crc = crc32(&absurd[12..29]);
    absurd[29..33].copy_from_slice(&crc.to_be_bytes());
    let cases: [(&str, &[u8], &str); 7] = [
        ("0.png", b"this is text", "is not an image"),
        ("1.png", b"", "is not an image"),
        ("2.png", &sound[..sound.len() / 2], "cannot be decoded"),
        ("3.jpg", &photo[..200], "cannot be decoded"),
        ("4.png", &absurd, "is larger than 32768 x 32768 pixels"),
        ("5.png", b"GIF89a\x01\x00\x01\x00\x00\x00\x00;", "is an image of the kind Gif"),
        ("6.png", &sound[..33], "cannot be decoded"),
    ];
    for (name, bytes, _) in cases {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    plain(&folder.path().join("7.png"), 1, 400, 9);
    fs::write(folder.path().join("8.png"), &photo).unwrap();
    let model = [input("x", Element::F32, &[0, 3, 224, 224])];
    let data = opened(folder.path(), &model);
    assert_eq!((data.kind, data.samples.labels()), (Kind::ImageFolder, None));
    for (index, (name, _, problem)) in cases.into_iter().enumerate() {
        let error = data.samples.batch(&[index]).unwrap_err().to_string();
        assert_says(&error, &[name, problem, "expected a PNG or JPEG image"]);
    }
    let error = data.samples.batch(&[7]).unwrap_err().to_string();
    assert_says(&error, &["7.png", "has 1 x 400 pixels and would be longer than 32768"]);
    // The content decides, not the name; and a batch goes on behind one that failed.
    let all: Vec<usize> = (0..data.samples.len()).collect();
    let results: Vec<bool> = batches(data.samples.as_ref(), &all, 1).map(|batch| batch.is_ok()).collect();
    assert_eq!(results.iter().filter(|&&sound| sound).count(), 1);
    assert!(results[8]);
}

/// The checksum of PNG's chunks (ISO 3309), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc)))
}

#[test]
fn damaged_images_are_errors_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let model = [input("x", Element::U8, &[1, 3, 8, 8])];
    for name in ["palette.png", "halved.jpg", "gray.jpg"] {
        let sound = fs::read(testdata().join("images").join(name)).unwrap();
        let path = folder.path().join(name);
        for at in (0..sound.len()).step_by(23).chain(0..64) {
            let mut damaged = sound.clone();
            damaged[at] ^= 0xff;
            fs::write(&path, &damaged).unwrap();
            let data = opened(&path, &model);
            assert_eq!(data.samples.batch_rule(), BatchRule::Exactly(1));
            if let Ok(arrays) = data.samples.batch(&[0]) {
                assert_eq!(arrays[0].shape, [1, 3, 8, 8]);
            }
        }
    }
}

/// CIFAR-10 in which record `i` of file `f` has label `i % 10`, red `f`, green `i % 251` and blue 7.
fn cifar(folder: &Path) {
    for file in 0..6u8 {
        let name =
            if file == 5 { "test_batch.bin".to_owned() } else { format!("data_batch_{}.bin", file + 1) };
        let mut writer = std::io::BufWriter::new(fs::File::create(folder.join(name)).unwrap());
        for record in 0..10_000 {
            let mut bytes = [7u8; 3073];
            bytes[0] = (record % 10) as u8;
            bytes[1..1025].fill(file);
            bytes[1025..2049].fill((record % 251) as u8);
            writer.write_all(&bytes).unwrap();
        }
    }
}

#[test]
fn cifar10_gives_either_split_from_folder_and_archive() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("cifar-10-batches-bin");
    fs::create_dir(&folder).unwrap();
    cifar(&folder);
    let packed = parent.path().join("cifar-10-binary.tar.gz");
    let file = flate2::write::GzEncoder::new(fs::File::create(&packed).unwrap(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(file);
    archive.append_dir_all("cifar-10-batches-bin", &folder).unwrap();
    archive.into_inner().unwrap().finish().unwrap();

    let normalized =
        |channel: usize, pixel: u8| (f32::from(pixel) / 255.0 - MEAN[channel]) / DEVIATION[channel];
    let model = [input("x", Element::F32, &[0, 3, 32, 32])];
    for path in [parent.path(), &folder, &packed] {
        for (split, count, index, file) in
            [(CifarSplit::Train, 50_000, 23_456, 2), (CifarSplit::Test, 10_000, 3_456, 5)]
        {
            let data = open(path, &model, &OpenOptions { split, ..Default::default() }).unwrap();
            assert_eq!((data.kind, data.samples.len()), (Kind::Cifar10, count));
            assert_eq!(data.samples.labels().unwrap()[index], 6);
            assert_eq!(data.samples.class_names().unwrap()[6], "frog");
            let values = data.samples.batch(&[index]).unwrap()[0].to_f32();
            let green = (3_456 % 251) as u8;
            let expected = [normalized(0, file), normalized(1, green), normalized(2, 7)];
            assert_eq!([values[0], values[1024], values[3071]], expected);
        }
    }
    let gray = opened(&folder, &[input("x", Element::F32, &[0, 28, 28, 1])]);
    assert_eq!(gray.samples.batch(&[0, 9_999]).unwrap()[0].shape, [2, 28, 28, 1]);

    fs::remove_file(folder.join("data_batch_4.bin")).unwrap();
    opened(&folder, &model);
    let train = OpenOptions { split: CifarSplit::Train, ..Default::default() };
    let error = open(&folder, &model, &train).unwrap_err().to_string();
    assert_says(&error, &["missing data_batch_4.bin;"]);
}

#[test]
fn a_free_layout_is_read_as_the_user_or_the_recipe_says() {
    let shape: Vec<Extent> = vec!["N".into(), 3.into(), 9.into(), 3.into()];
    let model = [ModelInput::new("x", Element::F32, shape)];
    let image = testdata().join("images/wide.png");
    let of = |options: &OpenOptions| open(&image, &model, options).unwrap().preprocessing.unwrap();
    assert_eq!(of(&OpenOptions::default()).resize, Resize::Exact { height: 9, width: 3 });
    let nhwc = of(&with(PreprocessingOverrides { layout: Some(Layout::Nhwc), ..Default::default() }));
    assert_eq!(nhwc.resize, Resize::Exact { height: 3, width: 9 });
    let again = OpenOptions { preprocessing: Some(nhwc.clone()), ..Default::default() };
    assert_eq!(of(&again), nhwc);
}
