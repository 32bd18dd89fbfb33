"""A CSV file in, good rows and numbered row faults out. Streams in constant memory; knows no database.

::

    reading.py   what was declared with the file, and its limits
    text.py      bytes -> physical lines: encodings, undecodable bytes marked and not fatal
    columns.py   which column holds the phone
    layout.py    the first block -> encoding, delimiter, header
    records.py   lines -> records; a broken quote costs its own line and no other
    numbers.py   a cell -> E.164, or why not
    rows.py      records -> good rows and rejected rows
    sheet.py     rejected rows -> a CSV that can be mended and uploaded again
    rehearsal.py the whole way without a database (`--dry-run`)
"""
