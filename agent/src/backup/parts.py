# What several jobs of pg_dump write is a folder of files. It is kept as one file all the same, a tar archive: so it is weighed, encrypted and
# carried like any other backup.
import os
import tarfile


def pack(folder, file):
    """One file of a folder. What is in it already goes, so that it needs little room."""
    with tarfile.open(file, "w") as archive:
        for name in sorted(os.listdir(folder)):
            path = os.path.join(folder, name)
            archive.add(path, arcname=name, recursive=False)
            os.unlink(path)
    os.rmdir(folder)


def unpacked(file, folder, jobs):
    """What pg_restore reads: the file itself, or the folder that several jobs wrote."""
    if jobs == 1:
        return file
    os.mkdir(folder)
    try:
        with tarfile.open(file) as archive:
            for member in archive:
                if not member.isfile() or "/" in member.name or member.name.startswith("."):
                    raise Refused(f"the backup holds {member.name[:80]!r}, which pg_dump does not write", "look at the host's pg_dump")
                archive.extract(member, folder, set_attrs=False)
    except tarfile.TarError as error:
        raise Refused(f"the backup cannot be unpacked: {error}", "look at the disk of the host; nothing was changed")
    return folder
