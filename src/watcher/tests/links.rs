//! Symbolic links: followed inside the watched directory, and only there.

use super::*;

#[test]
fn offers_a_file_by_relative_and_absolute_links() {
    let mut field = Field::new();
    field.mkdir("d");
    field.write("d/a", "x");
    field.settled("d/a");
    field.symlink("d/a", "relative");
    assert_eq!(*field.settled("relative").target, *Path::new("d/a"));
    field.symlink(field.path("").canonicalize().expect("there").join("d/a"), "absolute");
    let file = field.settled("absolute");
    assert_eq!(*file.target, *Path::new("d/a"));
    assert_eq!(file.name(), b"absolute");
    assert!(field.roots.get(field.root).open(&file.target).is_ok());
}

#[test]
fn leaves_out_links_to_the_outside_and_through_hidden_names() {
    let mut field = Field::new();
    fs::write(field.outside("a"), "x").expect("written");
    fs::create_dir(field.outside("d")).expect("made");
    fs::write(field.outside("d/a"), "x").expect("written");
    field.mkdir(".hidden");
    field.write(".hidden/a", "x");
    field.symlink("../a", "relative");
    field.symlink(field.outside("a"), "absolute");
    field.symlink("../d", "directory");
    field.symlink("/", "top");
    field.symlink(".hidden", "hidden");
    field.symlink(".hidden/a", "hidden-file");
    for path in
        ["relative", "absolute", "directory", "directory/a", "top/etc/passwd", "hidden/a", "hidden-file"]
    {
        field.check(path);
    }
    assert_eq!(field.long_meanwhile(), []);
}

#[test]
fn a_link_s_file_changes_and_goes_with_its_target() {
    let mut field = Field::new();
    field.symlink("a", "link");
    field.write("a", "x");
    field.settled("link");
    let mut file = field.append("a");
    put(&mut file, "y");
    field.until_said("pending", "link");
    drop(file);
    assert_eq!(field.settled("link").binding.size(), 2);
    field.write("b", "other");
    field.rename("b", "a");
    assert_eq!(field.settled("link").binding.size(), 5);
    field.remove("a");
    field.gone("link");
    field.write("a", "x");
    field.settled("link");
}

#[test]
fn offers_a_dangling_link_once_its_target_is_there() {
    let mut field = Field::new();
    field.symlink("x/y/../y/file", "link");
    assert_eq!(field.meanwhile(), []);
    field.mkdir("x");
    assert_eq!(field.meanwhile(), []);
    field.mkdir("x/y");
    field.write("x/y/file", "x");
    assert_eq!(*field.settled("link").target, *Path::new("x/y/file"));
    field.rename("x", "z");
    field.gone("link");
    field.rename("z", "x");
    field.settled("link");
}

#[test]
fn follows_a_link_that_is_made_to_lead_elsewhere() {
    let mut field = Field::new();
    field.write("a", "one");
    field.write("b", "three");
    field.symlink("a", "link");
    assert_eq!(field.settled("link").binding.size(), 3);
    // As `ln -sfn` does it.
    field.symlink("b", ".tmp");
    field.rename(".tmp", "link");
    assert_eq!(*field.settled("link").target, *Path::new("b"));
    // The old target is none of its business any more.
    field.remove("a");
    field.gone("a");
    assert_eq!(of(&field.meanwhile(), "link"), [""; 0]);
    field.symlink("../outside", ".tmp");
    field.rename(".tmp", "link");
    field.gone("link");
    field.remove("link");
    field.symlink("b", "link");
    field.settled("link");
    field.remove("link");
    field.gone("link");
}

#[test]
fn follows_a_link_to_a_link() {
    let mut field = Field::new();
    field.write("a", "one");
    field.write("b", "three");
    field.symlink("middle", "link");
    field.symlink("a", "middle");
    assert_eq!(*field.settled("link").target, *Path::new("a"));
    field.remove("middle");
    field.gone("link");
    field.symlink("b", "middle");
    assert_eq!(*field.settled("link").target, *Path::new("b"));
}

#[test]
fn a_link_to_a_file_being_written_waits_for_its_writer() {
    let mut field = Field::new();
    let mut file = field.create("slow");
    put(&mut file, "some");
    field.until_said("pending", "slow");
    field.long_meanwhile();
    field.symlink("slow", "link");
    let all = field.long_meanwhile();
    assert_eq!(of(&all, "link"), ["pending"]);
    drop(file);
    field.settled("link");
}

#[test]
fn a_directory_s_files_are_there_by_links_to_it_too() {
    let mut field = Field::new();
    field.mkdir("d/sub");
    field.symlink("d", "link");
    field.write("d/sub/a", "x");
    assert_eq!(*field.settled("link/sub/a").target, *Path::new("d/sub/a"));
    field.mkdir("d/new");
    field.write("d/new/b", "x");
    field.settled("link/new/b");
    fs::remove_dir_all(field.path("d/sub")).expect("removed");
    field.gone("link/sub/a");
    field.remove("link");
    field.gone("link/new/b");
    field.symlink("d/new", "link");
    field.settled("link/b");
    field.rename("d", "e");
    field.gone("link/b");
    field.rename("e", "d");
    field.settled("link/b");
}

#[test]
fn refuses_links_that_lead_in_circles() {
    let mut field = Field::new();
    field.mkdir("a/b");
    field.symlink("self", "self");
    field.symlink(".", "a/here");
    field.symlink("..", "a/b/up");
    field.symlink("../..", "a/b/top");
    field.mkdir("x");
    field.mkdir("y");
    field.symlink("../y", "x/to-y");
    field.symlink("../x", "y/to-x");
    field.write("a/b/file", "x");
    field.write("x/file", "x");
    field.settled("x/file");
    let paths =
        ["a/here/b/file", "a/b/up/b/file", "a/b/top/a/b/file", "x/to-y/to-x/file", "self/file", "self"];
    for path in paths {
        field.check(path);
    }
    let all = field.meanwhile();
    for path in paths {
        assert_eq!(of(&all, path), [""; 0], "{path}");
    }
    // Either way round once is no circle.
    field.write("x/file", "xy");
    field.settled("y/to-x/file");
}

#[test]
fn ends_among_directories_that_all_link_to_each_other() {
    let temp = ground();
    for one in 0..8 {
        let path = temp.path().join(format!("root/{one}"));
        fs::create_dir(&path).expect("made");
        for other in (0..8).filter(|other| *other != one) {
            std::os::unix::fs::symlink(format!("../{other}"), path.join(format!("to-{other}")))
                .expect("linked");
        }
    }
    let mut field = Field::on(temp);
    field.write("7/file", "x");
    field.settled("0/to-7/file");
}
