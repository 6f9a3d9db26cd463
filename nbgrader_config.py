"""nbgrader for this course: `make gradebook`, then autograde, generate_feedback and formgrader as nbgrader documents them."""

from pathlib import Path

c = get_config()  # noqa: F821 (nbgrader provides it)

root = Path(__file__).resolve().parent
(root / "_grading").mkdir(exist_ok=True)

c.CourseDirectory.course_id = "llm"
c.CourseDirectory.root = str(root)
c.CourseDirectory.source_directory = "_build/source"
c.CourseDirectory.release_directory = "notebooks"
c.CourseDirectory.submitted_directory = "_grading/submitted"
c.CourseDirectory.autograded_directory = "_grading/autograded"
c.CourseDirectory.feedback_directory = "_grading/feedback"
c.CourseDirectory.db_url = f"sqlite:///{root}/_grading/gradebook.db"
c.ExportPlugin.to = str(root / "_grading" / "grades.csv")
c.ClearSolutions.code_stub = {"python": "raise NotImplementedError"}
c.ExecutePreprocessor.timeout = 600  # seconds a cell; nbgrader's own limit of 30 is short for an experiment
c.OverwriteCells.add_missing_cells = True  # a deleted check cell is put back before grading
