"""From the working copy to a version that hosts serve: drafts, gates, publishing, going back, holding."""
